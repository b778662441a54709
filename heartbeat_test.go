package once_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// In each of these tests the operation takes longer than its lease of 10 s.

func TestHeartbeatKeepsALongOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g, other := newGuard(t, once.Config{Store: m}), newGuard(t, once.Config{Store: m})
		got, err := do(g, func(ctx context.Context) (string, error) {
			for range 100 {
				time.Sleep(time.Second)
				_, err := do(other, mustNotRun(t))
				wantErr(t, err, once.ErrInFlight)
			}
			return "x", ctx.Err()
		})
		wantResult(t, got, err, "x")
		if n := m.calls["renew"].Load(); n < 29 || n > 31 {
			t.Errorf("renewed %d times in 100 s, want every third of 10 s", n)
		}
	})
}

func TestFastOperationNeverRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g := newGuard(t, once.Config{Store: m})
		for i := range 10 {
			once.Do(t.Context(), g, once.Key{Scope: "s", ID: string(rune('a' + i))}, once.Fingerprint{},
				func(context.Context) (string, error) { time.Sleep(3 * time.Second); return "", nil })
		}
		if n := m.calls["renew"].Load(); n != 0 {
			t.Errorf("renewed %d times", n)
		}
	})
}

// The caller's context ends the wait for others, not the renewal of what is still running.
func TestHeartbeatOutlivesTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		g, other := newGuard(t, once.Config{Store: store}), newGuard(t, once.Config{Store: store, InDoubt: once.Rerun})
		ctx, hangUp := context.WithCancel(t.Context())
		got, err := once.Do(ctx, g, key, once.Fingerprint{}, func(ctx context.Context) (string, error) {
			hangUp()
			<-ctx.Done()
			time.Sleep(time.Minute) // it does not stop at once
			_, err := do(other, mustNotRun(t))
			wantErr(t, err, once.ErrInFlight)
			return "x", nil
		})
		wantResult(t, got, err, "x")
		got, err = do(other, mustNotRun(t))
		wantResult(t, got, err, "x")
	})
}

func TestFailedRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		m.set(first(5, "renew", errNet), nil)
		g := newGuard(t, once.Config{Store: m})
		got, err := do(g, func(ctx context.Context) (string, error) {
			time.Sleep(time.Minute)
			return "x", context.Cause(ctx)
		})
		wantResult(t, got, err, "x")
	})
}

func TestOwnerStopsBeforeItsLeaseIsOver(t *testing.T) {
	hang := func(ctx context.Context, verb string) error {
		if verb == "renew" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	hangForEver := func(_ context.Context, verb string) error {
		if verb == "renew" {
			time.Sleep(time.Hour) // a store that does not heed its context
		}
		return errNet
	}
	for name, before := range map[string]meddling{
		"renewals fail": first(1<<30, "renew", errNet), "renewals hang": hang, "renewals hang for ever": hangForEver,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meddle(new(oncemem.Store))
				var lost int
				g := newGuard(t, once.Config{Store: m, Observe: func(_ context.Context, e once.Event) {
					if e.Kind == once.OwnerLost {
						lost++
					}
				}})
				a, err := g.Begin(t.Context(), key, once.Fingerprint{})
				if err != nil {
					t.Fatal(err)
				}
				m.set(before, nil)
				start := time.Now()
				<-a.Context().Done()
				if took := time.Since(start); took != 9*time.Second {
					t.Errorf("stopped after %v, with a lease of 10s", took)
				}
				wantErr(t, context.Cause(a.Context()), once.ErrLost)
				synctest.Wait()
				if lost != 1 {
					t.Errorf("told %d times of the loss", lost)
				}
				m.set(nil, nil)
				// Nobody took over, so that it may still say what happened.
				if err := a.Complete(once.Outcome{Type: "application/json", Data: []byte(`"late"`)}); err != nil {
					t.Fatal(err)
				}
				got, err := do(g, mustNotRun(t))
				wantResult(t, got, err, "late")
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// A zombie: it sleeps through the end of its lease, and another one takes over and completes.
func TestLateOwnerGetsTheStoredOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		zombie := newGuard(t, once.Config{Store: m, InDoubt: once.Rerun})
		other := newGuard(t, once.Config{Store: m.Store, InDoubt: once.Rerun})
		m.set(first(1<<30, "renew", errNet), nil)
		got, err := do(zombie, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			time.Sleep(10 * time.Second)
			got, err := do(other, result("theirs"))
			wantResult(t, got, err, "theirs")
			return "mine", nil
		})
		wantResult(t, got, err, "theirs")
	})
}

func TestLateOwnerIsToldOfATakeoverUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		zombie := newGuard(t, once.Config{Store: m, InDoubt: once.Rerun})
		other := newGuard(t, once.Config{Store: m.Store, InDoubt: once.Rerun})
		m.set(first(1<<30, "renew", errNet), nil)
		got, err := do(zombie, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			time.Sleep(10 * time.Second)
			if _, err := other.Begin(context.Background(), key, once.Fingerprint{}); err != nil {
				t.Fatal(err)
			}
			return "mine", nil
		})
		wantErr(t, err, once.ErrLost)
		if got != "" {
			t.Errorf("the late owner's result %q got out", got)
		}
	})
}

func TestOperatorsReleaseStopsTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, once.Config{})
		a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
		if err := g.Store().Release(t.Context(), key, a.Owner()); err != nil {
			t.Fatal(err)
		}
		<-a.Context().Done()
		wantErr(t, context.Cause(a.Context()), once.ErrLost)
		wantErr(t, a.Complete(once.Outcome{}), once.ErrLost)
		if _, err := g.Store().Load(t.Context(), key); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("the late completion left something: %v", err)
		}
	})
}

func TestTooLargeOutcomeLeavesTheAttemptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		m.set(first(1, "complete", once.ErrTooLarge), nil)
		g := newGuard(t, once.Config{Store: m})
		a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
		wantErr(t, a.Complete(once.Outcome{Data: []byte("large")}), once.ErrTooLarge)
		time.Sleep(time.Minute)
		if err := a.Context().Err(); err != nil {
			t.Fatalf("the attempt is over: %v", err)
		}
		if err := a.Complete(once.Outcome{Data: []byte("small")}); err != nil {
			t.Fatal(err)
		}
	})
}

// An attempt whose claim was answered late is renewed before younger ones that were answered
// sooner.
func TestSlowlyAnsweredClaimIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g := newGuard(t, once.Config{Store: m})
		m.set(nil, func(context.Context, string) error { time.Sleep(8500 * time.Millisecond); return nil })
		done := make(chan *once.Attempt)
		go func() {
			a, err := g.Begin(context.Background(), key, once.Fingerprint{})
			if err != nil {
				t.Error(err)
			}
			done <- a
		}()
		time.Sleep(8400 * time.Millisecond)
		m.set(nil, nil)
		young, err := g.Begin(t.Context(), once.Key{Scope: "test", ID: "young"}, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		slow := <-done
		time.Sleep(time.Minute)
		for _, a := range []*once.Attempt{slow, young} {
			if err := a.Context().Err(); err != nil {
				t.Errorf("lease was lost: %v", err)
			}
			if rec, err := m.Store.Load(t.Context(), a.Key()); err != nil || rec.State != once.InFlight {
				t.Errorf("record is %v, %v", rec.State, err)
			}
			a.Release()
		}
	})
}

func TestRenewalWithoutAReplyDoesNotCostTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g := newGuard(t, once.Config{Store: m})
		a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
		hung := false
		m.set(func(ctx context.Context, verb string) error {
			if verb == "renew" && !hung {
				hung = true
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}, nil)
		time.Sleep(time.Minute)
		if err := a.Context().Err(); err != nil {
			t.Errorf("lease was lost: %v", context.Cause(a.Context()))
		}
		a.Release()
	})
}
