package once_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// The lease is counted from the claim, not from the moment when a caller began to wait for another.
func TestWaitingLongerThanALeaseCostsNoneOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, once.Config{Wait: time.Hour})
		owner, err := g.Begin(t.Context(), key, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*once.DefaultLease, func() { owner.Release() })
		got, err := do(g, func(ctx context.Context) (string, error) {
			time.Sleep(once.DefaultLease / 4)
			return "x", ctx.Err()
		})
		wantResult(t, got, err, "x")
	})
}

// Durations up to Forever are allowed, and must not overflow when something is added to them.
func TestWaitForAnEndlessLeaseIsNotSpentAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		owner := newGuard(t, once.Config{Store: m, Lease: once.Forever})
		other := newGuard(t, once.Config{Store: m, Lease: once.Forever, Wait: time.Minute})
		a, err := owner.Begin(t.Context(), key, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Release()
		m.set(func(_ context.Context, verb string) error {
			if verb == "claim" && m.calls[verb].Load() > 10_000 {
				return once.ErrFull
			}
			return nil
		}, nil)
		_, err = do(other, mustNotRun(t))
		wantErr(t, err, once.ErrInFlight)
		if n := m.calls["claim"].Load(); n > 1000 {
			t.Errorf("claimed %d times in a minute", n)
		}
		m.set(nil, nil)
	})
}

// Whatever becomes of a call of the store, no caller in this process may take the operation to be
// in flight for ever after it.
func TestStoreThatNeverReturnsFreesTheKey(t *testing.T) {
	endings := map[string]func(a *once.Attempt){
		"complete":    func(a *once.Attempt) { a.Complete(once.Outcome{}) },
		"complete by": func(a *once.Attempt) { a.CompleteBy(once.Outcome{}, nil) },
		"release":     func(a *once.Attempt) { a.Release() },
		"abandon":     func(a *once.Attempt) { a.Abandon(nil) },
	}
	for how, end := range map[string]func(){"panic": func() { panic("store") }, "Goexit": runtime.Goexit} {
		for name, ending := range endings {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := meddle(new(oncemem.Store))
					g := newGuard(t, once.Config{Store: m, InDoubt: once.Rerun})
					a, err := g.Begin(t.Context(), key, once.Fingerprint{})
					if err != nil {
						t.Fatal(err)
					}
					m.set(func(context.Context, string) error { end(); return nil }, nil)
					var wg sync.WaitGroup
					wg.Go(func() {
						defer func() { recover() }()
						ending(a)
					})
					wg.Wait()
					m.set(nil, nil)
					time.Sleep(2 * once.DefaultLease)
					got, err := do(g, result("x"))
					wantResult(t, got, err, "x")
				})
			})
		}
	}
}
