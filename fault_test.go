package once_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// faults runs a test in a bubble with a store that can be meddled with.
func faults(t *testing.T, f func(t *testing.T, m *meddler, g *once.Guard)) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		f(t, m, newGuard(t, once.Config{Store: m}))
	})
}

func TestClaimWhoseReplyWasLostIsRepeated(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(nil, first(2, "claim", errNet))
		got, err := do(g, func(ctx context.Context) (string, error) {
			if a, _ := once.FromContext(ctx); a.Number() != 1 {
				t.Errorf("attempt %d: the repeated claim counted as another", a.Number())
			}
			return "x", nil
		})
		wantResult(t, got, err, "x")
	})
}

// The caller is told that the store does not answer; the claim that was made all the same must
// not hold up the next one.
func TestClaimThatWasGivenUpIsReleased(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(nil, first(1<<30, "claim", errNet))
		_, err := do(g, mustNotRun(t))
		wantErr(t, err, errNet)
		m.set(nil, nil)
		got, err := do(g, result("x"))
		wantResult(t, got, err, "x")
	})
}

func TestCallerThatHangsUpDuringTheClaimLeavesNone(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		ctx, hangUp := context.WithCancel(t.Context())
		m.set(nil, func(_ context.Context, verb string) error {
			if verb == "claim" {
				hangUp()
				return errNet
			}
			return nil
		})
		_, err := once.Do(ctx, g, key, once.Fingerprint{}, mustNotRun(t))
		wantErr(t, err, errNet)
		m.set(nil, nil)
		got, err := do(g, result("x"))
		wantResult(t, got, err, "x")
	})
}

func TestStoreThatDoesNotAnswerIsNotWaitedForLongerThanALease(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(func(ctx context.Context, verb string) error { <-ctx.Done(); return ctx.Err() }, nil)
		start := time.Now()
		_, err := do(g, mustNotRun(t))
		wantErr(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took > once.DefaultLease+2*time.Second {
			t.Errorf("waited %v", took)
		}
	})
}

func TestCompletionIsTriedWhileTheLeaseLives(t *testing.T) {
	for name, set := range map[string]func(m *meddler, f meddling){
		"not carried out": func(m *meddler, f meddling) { m.set(f, nil) },
		"reply lost":      func(m *meddler, f meddling) { m.set(nil, f) },
	} {
		t.Run(name, func(t *testing.T) {
			faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
				set(m, first(5, "complete", errNet))
				got, err := do(g, result("x"))
				wantResult(t, got, err, "x")
				got, err = do(g, mustNotRun(t))
				wantResult(t, got, err, "x")
			})
		})
	}
}

func TestOutcomeThatIsNotAcknowledgedIsWithheld(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(first(1<<30, "complete", errNet), nil)
		start := time.Now()
		got, err := do(g, result("x"))
		wantErr(t, err, errNet)
		if got != "" {
			t.Errorf("got %q although nobody else would be given it", got)
		}
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("tried for %v, with a lease of 10s", took)
		}
		_, err = do(g, mustNotRun(t))
		wantErr(t, err, once.ErrInDoubt)
	})
}

func TestReleaseWhoseReplyWasLostIsRepeated(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(nil, first(3, "release", errNet))
		a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
		if err := a.Release(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCompletionThatKeepsNothingIsRepeated(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(nil, first(3, "complete", errNet))
		a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
		if err := a.CompleteFor(once.Outcome{}, 0); err != nil {
			t.Fatal(err)
		}
		got, err := do(g, result("x"))
		wantResult(t, got, err, "x")
	})
}

func TestCallersCancellationDoesNotReachTheCompletion(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		ctx, hangUp := context.WithCancel(t.Context())
		got, err := once.Do(ctx, g, key, once.Fingerprint{}, func(context.Context) (string, error) {
			hangUp()
			return "x", nil
		})
		wantResult(t, got, err, "x")
		got, err = do(g, mustNotRun(t))
		wantResult(t, got, err, "x")
	})
}

func TestAbandonedInAnOutageIsInDoubtAfterTheLease(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		m.set(first(1<<30, "renew", errNet), nil)
		do(g, func(context.Context) (string, error) { return "", errNet })
		_, err := do(g, mustNotRun(t))
		wantErr(t, err, once.ErrInFlight)
		time.Sleep(once.DefaultLease)
		_, err = do(g, mustNotRun(t))
		wantErr(t, err, once.ErrInDoubt)
	})
}

func TestRolledBackTransactionIsRunAgain(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		// What a transactional store does at a serialization failure.
		m.set(func(ctx context.Context, verb string) error {
			if verb == "complete" && m.calls[verb].Load() <= 3 {
				rec, _ := m.Store.Load(ctx, key)
				m.Store.Release(ctx, key, rec.Owner)
				return once.ErrRolledBack
			}
			return nil
		}, nil)
		runs := 0
		got, err := do(g, func(context.Context) (string, error) { runs++; return "x", nil })
		wantResult(t, got, err, "x")
		if runs != 4 {
			t.Errorf("ran %d times, want 4", runs)
		}
	})
}

func TestRetentionEndsReplay(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		do(g, result("first"))
		time.Sleep(once.DefaultRetention - time.Second)
		got, err := do(g, mustNotRun(t))
		wantResult(t, got, err, "first")
		time.Sleep(2 * time.Second)
		got, err = do(g, result("second"))
		wantResult(t, got, err, "second")
	})
}
