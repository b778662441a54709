package retry_test

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once/retry"
)

// In an outage everybody fails: what is tried again is bounded by what Budget promises, and close
// to it.
func TestBudgetBoundsWhatAnOutageAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const operations, every = 5000, 10 * time.Millisecond
		b := &retry.Budget{Ratio: 0.2, PerSecond: 2, Burst: 30}
		p := retry.Policy{Base: 1, Budget: b}
		again := 0
		start := time.Now()
		for range operations {
			s := p.Start()
			for {
				if _, err := s.Next(t.Context(), 0); err != nil {
					break
				}
				again++
			}
			time.Sleep(every)
		}
		most := 30 + 0.2*operations + 2*time.Since(start).Seconds()
		if float64(again) > most || float64(again) < 0.95*most {
			t.Errorf("%d more tries, want at most %.0f and not far below", again, most)
		}
	})
}

func TestBudgetDoesNotHinderFewFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Budget: new(retry.Budget)}
		for i := range 10_000 {
			s := p.Start()
			if i%20 != 0 {
				continue // 95 % succeed at once
			}
			if _, err := s.Next(t.Context(), 0); err != nil {
				t.Fatalf("operation %d: %v", i, err)
			}
		}
	})
}

func TestBudgetRefillsWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Budget: &retry.Budget{Ratio: 1e-9, PerSecond: 0.5, Burst: 1}, Tries: 100, Elapsed: time.Hour}
		s := p.Start()
		if _, err := s.Next(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(t.Context(), 0); err != retry.ErrBudget {
			t.Fatalf("error is %v, want ErrBudget", err)
		}
		time.Sleep(1900 * time.Millisecond)
		if _, err := s.Next(t.Context(), 0); err != retry.ErrBudget {
			t.Fatalf("error is %v a moment too early, want ErrBudget", err)
		}
		time.Sleep(200 * time.Millisecond)
		if _, err := s.Next(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour / 2) // what is saved up is bounded
		for range 2 {
			_, err := s.Next(t.Context(), 0)
			if _, second := s.Next(t.Context(), 0); err != nil || second != retry.ErrBudget {
				t.Fatalf("errors are %v and %v, want none and ErrBudget", err, second)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

func TestARefusedTryCostsNothing(t *testing.T) {
	b := &retry.Budget{Burst: 1, Ratio: 1e-9, PerSecond: 1e-9}
	if _, err := (retry.Policy{Tries: 1, Budget: b}).Start().Next(t.Context(), 0); err != retry.ErrTries {
		t.Fatal(err)
	}
	if _, err := (retry.Policy{Budget: b}).Start().Next(t.Context(), time.Hour); err != retry.ErrElapsed {
		t.Fatal(err)
	}
	if _, err := (retry.Policy{Budget: b}).Start().Next(t.Context(), 0); err != nil {
		t.Errorf("the only token is gone: %v", err)
	}
}

func TestAnInfiniteBurstIsNoBudget(t *testing.T) {
	p := retry.Policy{Tries: 1e6, Base: 1, Cap: 1, Budget: &retry.Budget{Burst: math.Inf(1), Ratio: 1e-9, PerSecond: 1e-9}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	s := p.Start()
	for i := range 100_000 {
		if _, err := s.Next(t.Context(), 0); err != nil {
			t.Fatalf("try %d: %v", i+2, err)
		}
	}
}

func TestARatioAddsNoMoreThanBurst(t *testing.T) {
	p := retry.Policy{Tries: 100, Base: 1, Budget: &retry.Budget{Ratio: 1000, Burst: 3, PerSecond: 1e-9}}
	for range 2 {
		s := p.Start()
		for s.Tries() <= 3 {
			if _, err := s.Next(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Next(t.Context(), 0); err != retry.ErrBudget {
			t.Errorf("error is %v after 3 more tries, want ErrBudget", err)
		}
	}
}

func TestBudgetIsSharedSafely(t *testing.T) {
	b := &retry.Budget{Burst: 100, Ratio: 1e-9, PerSecond: 1e-9}
	p := retry.Policy{Budget: b, Tries: 1000}
	var again atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := p.Start()
			for range 50 {
				if _, err := s.Next(t.Context(), 0); err == nil {
					again.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := again.Load(); got != 100 {
		t.Errorf("%d more tries, want exactly the 100 of the budget", got)
	}
}
