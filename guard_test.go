package once_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	_, err := once.New(once.Config{Lease: -1, Retention: -1, Wait: -1, MaxAttempts: -1})
	for _, want := range []string{"Store", "InDoubt", "Lease", "Retention", "Wait", "MaxAttempts"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

func TestHoldOverAForgetfulStoreNeedsAcknowledgement(t *testing.T) {
	cfg := once.Config{Store: new(oncemem.Store), InDoubt: once.Hold}
	if _, err := once.New(cfg); err == nil || !strings.Contains(err.Error(), "DangerouslyTrustStore") {
		t.Fatalf("error is %v, want one that names DangerouslyTrustStore", err)
	}
	cfg.DangerouslyTrustStore = true
	if _, err := once.New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun}); err != nil {
		t.Fatal(err)
	}
}

func TestHoldTakesNoAttempts(t *testing.T) {
	_, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true, MaxAttempts: 2})
	if err == nil {
		t.Fatal("MaxAttempts under Hold was accepted")
	}
}

func TestDoRunsOnceAndReplays(t *testing.T) {
	g := newGuard(t, once.Config{})
	got, err := do(g, result("a"))
	wantResult(t, got, err, "a")
	got, err = do(g, mustNotRun(t))
	wantResult(t, got, err, "a")
}

func TestDoReplaysFinalFailures(t *testing.T) {
	g := newGuard(t, once.Config{})
	cause := errors.New("card is blocked")
	_, err := do(g, func(context.Context) (string, error) { return "", once.Final(cause) })
	wantErr(t, err, cause)
	_, err = do(g, mustNotRun(t))
	final, ok := errors.AsType[*once.FinalError](err)
	if !ok || final.Message != cause.Error() {
		t.Fatalf("replayed error is %#v", err)
	}
}

func TestNoEffectReleases(t *testing.T) {
	g := newGuard(t, once.Config{})
	_, err := do(g, func(context.Context) (string, error) { return "", once.NoEffect(errNet) })
	wantErr(t, err, errNet)
	got, err := do(g, result("b"))
	wantResult(t, got, err, "b")
}

func TestUnclassifiedErrorIsInDoubt(t *testing.T) {
	fail := func(context.Context) (string, error) { return "", errNet }
	t.Run("Hold refuses", func(t *testing.T) {
		g := newGuard(t, once.Config{InDoubt: once.Hold})
		_, err := do(g, fail)
		wantErr(t, err, errNet)
		_, err = do(g, mustNotRun(t))
		wantErr(t, err, once.ErrInDoubt)
	})
	t.Run("Rerun runs again until MaxAttempts", func(t *testing.T) {
		g := newGuard(t, once.Config{InDoubt: once.Rerun, MaxAttempts: 3})
		for range 3 {
			_, err := do(g, fail)
			wantErr(t, err, errNet)
		}
		_, err := do(g, mustNotRun(t))
		wantErr(t, err, once.ErrInDoubt)
		if ke, _ := errors.AsType[*once.KeyError](err); ke.Attempt != 3 {
			t.Errorf("error speaks of attempt %d, want 3", ke.Attempt)
		}
	})
}

func TestPanicIsInDoubtAndGoesOn(t *testing.T) {
	g := newGuard(t, once.Config{})
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		do(g, func(context.Context) (string, error) { panic("boom") })
	}()
	_, err := do(g, mustNotRun(t))
	wantErr(t, err, once.ErrInDoubt)
}

func TestGoexitIsInDoubt(t *testing.T) {
	g := newGuard(t, once.Config{})
	var wg sync.WaitGroup
	wg.Go(func() { do(g, func(context.Context) (string, error) { runtime.Goexit(); return "", nil }) })
	wg.Wait()
	_, err := do(g, mustNotRun(t))
	wantErr(t, err, once.ErrInDoubt)
}

func TestMismatchIsRefusedInFlightAndDone(t *testing.T) {
	a, b := once.FingerprintOf([]byte("a")), once.FingerprintOf([]byte("b"))
	store := new(oncemem.Store)
	g, other := newGuard(t, once.Config{Store: store}), newGuard(t, once.Config{Store: store})
	refused := func() {
		t.Helper()
		for _, g := range []*once.Guard{g, other} {
			_, err := once.Do(t.Context(), g, key, b, mustNotRun(t))
			wantErr(t, err, once.ErrMismatch)
		}
	}
	got, err := once.Do(t.Context(), g, key, a, func(context.Context) (string, error) {
		refused()
		return "x", nil
	})
	wantResult(t, got, err, "x")
	refused()
}

func TestInFlightIsRefusedWithTheTimeLeft(t *testing.T) {
	store := new(oncemem.Store)
	g, other := newGuard(t, once.Config{Store: store}), newGuard(t, once.Config{Store: store})
	do(g, func(context.Context) (string, error) {
		for _, g := range []*once.Guard{g, other} {
			_, err := do(g, mustNotRun(t))
			wantErr(t, err, once.ErrInFlight)
			ke, _ := errors.AsType[*once.KeyError](err)
			if ke.RetryAfter <= 0 || ke.RetryAfter > once.DefaultLease {
				t.Errorf("retry after %v", ke.RetryAfter)
			}
		}
		return "", nil
	})
}

// 200 callers in two processes: one execution, and everybody gets its result.
func TestWaitersGetTheOwnersOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		cfg := once.Config{Store: store, Wait: time.Minute}
		guards := []*once.Guard{newGuard(t, cfg), newGuard(t, cfg)}
		var runs atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				got, err := do(guards[i%2], func(context.Context) (string, error) {
					runs.Add(1)
					time.Sleep(20 * time.Second)
					return "x", nil
				})
				wantResult(t, got, err, "x")
			})
		}
		wg.Wait()
		if runs.Load() != 1 {
			t.Errorf("ran %d times", runs.Load())
		}
	})
}

func TestWaiterThatGivesUpLeavesTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		cfg := once.Config{Store: store, Wait: time.Minute}
		g, other := newGuard(t, cfg), newGuard(t, cfg)
		var wg sync.WaitGroup
		wg.Go(func() {
			got, err := do(g, func(context.Context) (string, error) { time.Sleep(30 * time.Second); return "x", nil })
			wantResult(t, got, err, "x")
		})
		synctest.Wait()
		for _, g := range []*once.Guard{g, other} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				_, err := once.Do(ctx, g, key, once.Fingerprint{}, mustNotRun(t))
				wantErr(t, err, context.DeadlineExceeded)
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("waited %v past its context", took)
				}
			})
		}
		wg.Wait()
		got, err := do(other, mustNotRun(t))
		wantResult(t, got, err, "x")
	})
}

// A waiter whose owner falls into doubt applies the policy itself.
func TestWaiterTakesOverFromACrashedOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		c := once.Claim{Key: key, Owner: once.NewOwner(), Lease: 3 * time.Second}
		if _, err := store.Claim(t.Context(), c); err != nil { // an owner that will never be heard of again
			t.Fatal(err)
		}
		g := newGuard(t, once.Config{Store: store, InDoubt: once.Rerun, Wait: time.Minute})
		start := time.Now()
		got, err := do(g, func(ctx context.Context) (string, error) {
			a, _ := once.FromContext(ctx)
			if a.Number() != 2 {
				t.Errorf("attempt %d, want 2", a.Number())
			}
			return "x", nil
		})
		wantResult(t, got, err, "x")
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("took over after %v, with a lease of 3s", took)
		}
		hold := newGuard(t, once.Config{Store: store, Wait: time.Minute})
		c.Key.ID, c.Owner = "2", once.NewOwner()
		store.Claim(t.Context(), c)
		_, err = once.Do(t.Context(), hold, c.Key, once.Fingerprint{}, mustNotRun(t))
		wantErr(t, err, once.ErrInDoubt)
	})
}

func TestEventsTellTheStory(t *testing.T) {
	var kinds []string
	g := newGuard(t, once.Config{Observe: func(_ context.Context, e once.Event) {
		if e.Key != key {
			t.Errorf("event %v about another key", e.Kind)
		}
		kinds = append(kinds, e.Kind.String())
	}})
	do(g, func(context.Context) (string, error) { return "", once.NoEffect(errNet) })
	do(g, func(context.Context) (string, error) {
		do(g, mustNotRun(t))
		return "x", nil
	})
	do(g, mustNotRun(t))
	want := "claimed released claimed refused completed replayed"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("events are %s, want %s", got, want)
	}
}

func TestAttemptEndsOnce(t *testing.T) {
	g := newGuard(t, once.Config{})
	a, err := g.Begin(t.Context(), key, once.Fingerprint{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Complete(once.Outcome{Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if a.Context().Err() == nil {
		t.Error("the attempt's context is not done after its end")
	}
	for name, again := range map[string]func() error{
		"Complete": func() error { return a.Complete(once.Outcome{}) },
		"Release":  a.Release,
		"Abandon":  func() error { return a.Abandon(nil) },
	} {
		if again() == nil {
			t.Errorf("%s after Complete was accepted", name)
		}
	}
	rec, err := g.Store().Load(t.Context(), key)
	if err != nil || string(rec.Outcome.Data) != "x" {
		t.Fatalf("record is %+v, %v", rec, err)
	}
}

func TestErrorsDoNotTellTheKey(t *testing.T) {
	g := newGuard(t, once.Config{})
	k := once.Key{Scope: "secret-scope", ID: "secret-id"}
	once.Do(t.Context(), g, k, once.Fingerprint{}, func(context.Context) (string, error) {
		_, err := once.Do(t.Context(), g, k, once.Fingerprint{}, mustNotRun(t))
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("error tells the key: %v", err)
		}
		return "", nil
	})
	if strings.Contains(k.String(), "secret") {
		t.Error("String tells the key")
	}
	if _, err := once.Do(t.Context(), g, once.Key{Scope: "s"}, once.Fingerprint{}, mustNotRun(t)); err == nil {
		t.Error("a key without an id was accepted")
	}
}

func TestAnotherKindOfOutcomeIsAnError(t *testing.T) {
	g := newGuard(t, once.Config{})
	a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
	a.Complete(once.Outcome{Type: "application/http", Data: []byte("HTTP/1.1 200 OK\r\n\r\n")})
	if _, err := do(g, mustNotRun(t)); err == nil || !strings.Contains(err.Error(), "application/http") {
		t.Errorf("error is %v, want one that names the type", err)
	}
}

func TestResultThatCannotBeEncodedIsInDoubt(t *testing.T) {
	g := newGuard(t, once.Config{})
	_, err := once.Do(t.Context(), g, key, once.Fingerprint{}, func(context.Context) (chan int, error) { return nil, nil })
	if err == nil {
		t.Fatal("a channel was encoded")
	}
	_, err = do(g, mustNotRun(t))
	wantErr(t, err, once.ErrInDoubt)
}

func TestCompleteByRecordsWhatTheCallerRecords(t *testing.T) {
	g := newGuard(t, once.Config{})
	a, _ := g.Begin(t.Context(), key, once.Fingerprint{})
	out := once.Outcome{Type: "application/json", Data: []byte(`"x"`)}
	err := a.CompleteBy(out, func(ctx context.Context) error {
		return g.Store().Complete(ctx, key, a.Owner(), out, time.Hour)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := do(g, mustNotRun(t))
	wantResult(t, got, err, "x")

	a, _ = g.Begin(t.Context(), once.Key{Scope: "test", ID: "2"}, once.Fingerprint{})
	wantErr(t, a.CompleteBy(out, func(context.Context) error { return errNet }), errNet)
	_, err = g.Begin(t.Context(), a.Key(), once.Fingerprint{})
	wantErr(t, err, once.ErrInFlight) // unknown: until its lease is over
}

// An observer that panics costs the caller its attempt, and must not cost everybody else the key.
func TestPanicOfTheObserverFreesTheKey(t *testing.T) {
	s, panics := new(oncemem.Store), true
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Observe: func(_ context.Context, e once.Event) {
		if panics {
			panic("observer")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	k := once.Key{Scope: "s", ID: "1"}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		g.Begin(t.Context(), k, once.Fingerprint{})
	}()
	panics = false
	a, err := g.Begin(t.Context(), k, once.Fingerprint{})
	if err != nil {
		t.Fatal("after the observer has panicked:", err)
	}
	if a.Number() != 1 {
		t.Errorf("it is attempt %d, although nothing ran in the first", a.Number())
	}
	if err := a.Complete(once.Outcome{}); err != nil {
		t.Error(err)
	}
}
