package retry_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once/retry"
)

func TestCheckReportsEveryProblemAtOnce(t *testing.T) {
	err := retry.Policy{
		Base: -1, Cap: -1, Tries: -1, Elapsed: -1,
		Budget: &retry.Budget{Ratio: -1, PerSecond: math.NaN(), Burst: 0.5},
	}.Check()
	for _, want := range []string{"Base", "Cap", "Tries", "Elapsed", "Ratio", "PerSecond", "Burst"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
	if err := (retry.Policy{Base: time.Minute, Cap: time.Second}).Check(); err == nil {
		t.Error("a Cap below Base was accepted")
	}
	for _, b := range []*retry.Budget{{Ratio: math.Inf(1)}, {PerSecond: math.Inf(1)}, {Burst: math.Inf(-1)}} {
		if err := (retry.Policy{Budget: b}).Check(); err == nil {
			t.Errorf("an infinite budget was accepted: %+v", b)
		}
	}
	for _, p := range []retry.Policy{{}, {Base: time.Hour}, {Tries: 1, Budget: new(retry.Budget)}} {
		if err := p.Check(); err != nil {
			t.Error(err)
		}
	}
}

// After each try the pause is uniform between zero and a bound that doubles up to the cap. The
// empirical distribution of n draws differs from the true one by more than x/√n with probability
// at most 2·exp(-2x²) (Dvoretzky–Kiefer–Wolfowitz inequality, Massart's constant): for x = 4.5
// that is 5e-18.
func TestPausesAreUniformBelowAGrowingBound(t *testing.T) {
	const n = 20_000
	p := retry.Policy{Base: time.Second, Cap: 5 * time.Second, Tries: 6, Elapsed: time.Hour}
	pauses := make([][]time.Duration, p.Tries-1)
	for range n {
		s := p.Start()
		for i := range pauses {
			pause, err := s.Next(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			pauses[i] = append(pauses[i], pause)
		}
	}
	for i, bound := range []time.Duration{1, 2, 4, 5, 5} {
		bound *= time.Second
		slices.Sort(pauses[i])
		if first, last := pauses[i][0], pauses[i][n-1]; first < 0 || last > bound {
			t.Errorf("pause %d is from %v to %v, want 0 to %v", i+1, first, last, bound)
		}
		worst := 0.0
		for j, pause := range pauses[i] {
			uniform := float64(pause) / float64(bound)
			worst = max(worst, uniform-float64(j)/n, float64(j+1)/n-uniform)
		}
		if limit := 4.5 / math.Sqrt(n); worst > limit {
			t.Errorf("pause %d differs from the uniform distribution by %.3f, more than %.3f", i+1, worst, limit)
		}
	}
}

func TestServersDelayIsALowerBoundAndStillSpreadsCallers(t *testing.T) {
	const atLeast = 3 * time.Second
	p := retry.Policy{Base: time.Second}
	seen := make(map[time.Duration]bool)
	for range 100 {
		pause, err := p.Start().Next(t.Context(), atLeast)
		if err != nil {
			t.Fatal(err)
		}
		if pause < atLeast || pause > atLeast+time.Second {
			t.Fatalf("pause is %v, want %v and at most a second more", pause, atLeast)
		}
		seen[pause] = true
	}
	if len(seen) < 50 {
		t.Errorf("100 callers got only %d different pauses", len(seen))
	}
}

func TestTriesAreBounded(t *testing.T) {
	s := retry.Policy{Tries: 3}.Start()
	for range 2 {
		if _, err := s.Next(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Next(t.Context(), 0); err != retry.ErrTries {
		t.Errorf("error is %v, want ErrTries", err)
	}
	if got := s.Tries(); got != 3 {
		t.Errorf("%d tries were begun, want 3", got)
	}
}

func TestNoTryBeginsAfterElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Base: time.Millisecond, Elapsed: 10 * time.Second, Tries: math.MaxInt}
		s := p.Start()
		time.Sleep(9 * time.Second)
		if _, err := s.Next(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(t.Context(), time.Second); err != retry.ErrElapsed {
			t.Errorf("error is %v, want ErrElapsed", err)
		}
		if _, err := p.Start().Next(t.Context(), math.MaxInt64); err != retry.ErrElapsed {
			t.Errorf("error is %v after an absurd delay, want ErrElapsed", err)
		}
	})
}

func TestExtremePoliciesDoNotOverflow(t *testing.T) {
	s := retry.Policy{Base: math.MaxInt64, Cap: math.MaxInt64, Elapsed: math.MaxInt64, Tries: 100}.Start()
	for range 50 {
		if pause, err := s.Next(t.Context(), math.MaxInt64/2); err == nil && pause < math.MaxInt64/2 {
			t.Fatalf("pause is %v", pause)
		}
	}
}

func TestNoPauseBeginsThatTheDeadlineWouldCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p := retry.Policy{Base: time.Millisecond}
		if _, err := p.Start().Next(ctx, 4*time.Second); err != nil {
			t.Fatal(err)
		}
		_, err := p.Start().Next(ctx, 5*time.Second)
		if err != retry.ErrDeadline || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want ErrDeadline", err)
		}
	})
}

func TestSleepEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		if err := retry.Sleep(ctx, time.Hour); err != cause {
			t.Errorf("error is %v, want the cause", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("slept %v, want 1s", took)
		}
		if err := retry.Sleep(ctx, 0); err != cause {
			t.Errorf("error is %v after the end, want the cause", err)
		}
		if _, err := (retry.Policy{}).Start().Next(ctx, 0); err != cause {
			t.Errorf("error is %v after the end, want the cause", err)
		}
		if err := retry.Sleep(t.Context(), time.Minute); err != nil {
			t.Error(err)
		}
	})
}
