package once_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// What is true of one operation must not be taken for true of another one.

func TestNoEffectOfAStepIsNotThatOfItsOperation(t *testing.T) {
	for name, inner := range map[string]error{
		"NoEffect":      once.NoEffect(errNet),
		"ErrRolledBack": fmt.Errorf("%w: %w", once.ErrRolledBack, errNet),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t, once.Config{InDoubt: once.Hold})
			effects := 0
			order := func(ctx context.Context) (string, error) {
				effects++
				_, err := once.Step(ctx, "mail", func(context.Context) (string, error) { return "", inner })
				return "", fmt.Errorf("mailing: %w", err)
			}
			_, err := do(g, order)
			wantErr(t, err, errNet)
			if once.IsNoEffect(err) {
				t.Error("the mark came out of the operation that it is about")
			}
			_, err = do(g, order)
			wantErr(t, err, once.ErrInDoubt)
			if effects != 1 {
				t.Errorf("%d effects under Hold", effects)
			}
		})
	}
}

func TestLockLeavesAnOperationOfTheSameKeyAlone(t *testing.T) {
	g := newGuard(t, once.Config{InDoubt: once.Hold})
	do(g, func(context.Context) (string, error) { return "", errNet })
	if err := once.Lock(t.Context(), g, key, func(context.Context, uint64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := do(g, mustNotRun(t))
	wantErr(t, err, once.ErrInDoubt)
}

// A takeover whose replies are lost is given up, but the attempt before it is still in doubt.
func TestGivenUpTakeoverKeepsAttemptsAndFingerprint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g := newGuard(t, once.Config{Store: m, InDoubt: once.Rerun, MaxAttempts: 2})
		runs := 0
		op := func(payload string) error {
			_, err := once.Do(t.Context(), g, key, once.FingerprintOf([]byte(payload)),
				func(context.Context) (int, error) { runs++; return 0, errNet })
			return err
		}
		op("a")
		m.set(nil, first(1<<30, "claim", errNet))
		wantErr(t, op("a"), errNet)
		m.set(nil, nil)
		wantErr(t, op("b"), once.ErrMismatch)
		for range 5 {
			op("a")
		}
		if runs > 2 {
			t.Errorf("ran %d times with MaxAttempts 2", runs)
		}
	})
}

func TestReleaseOfALaterAttemptKeepsTheDoubtOfTheFirst(t *testing.T) {
	g := newGuard(t, once.Config{InDoubt: once.Rerun})
	fp, other := once.FingerprintOf([]byte("a")), once.FingerprintOf([]byte("b"))
	try := func(fp once.Fingerprint, err error) error {
		_, err = once.Do(t.Context(), g, key, fp, func(context.Context) (int, error) { return 0, err })
		return err
	}
	try(fp, errNet)
	try(fp, once.NoEffect(errNet))
	wantErr(t, try(other, nil), once.ErrMismatch)
	rec, err := g.Store().Load(t.Context(), key)
	if err != nil || rec.Attempt != 2 || rec.State != once.InDoubt {
		t.Fatalf("record is %v, attempt %d, %v", rec.State, rec.Attempt, err)
	}
	if err := try(fp, nil); err != nil {
		t.Fatal(err)
	}
}

type unencodable struct{}

func (unencodable) MarshalJSON() ([]byte, error) { panic("no") }

func TestPanicOfTheCodecEndsTheAttempt(t *testing.T) {
	g := newGuard(t, once.Config{})
	func() {
		defer func() { recover() }()
		once.Do(t.Context(), g, key, once.Fingerprint{}, func(context.Context) (unencodable, error) { return unencodable{}, nil })
	}()
	_, err := do(g, mustNotRun(t))
	wantErr(t, err, once.ErrInDoubt)
}

func TestPanicOfTheStoreFreesTheWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g := newGuard(t, once.Config{Store: m, InDoubt: once.Rerun, Wait: time.Hour})
		m.set(func(_ context.Context, verb string) error {
			if verb == "complete" {
				time.Sleep(time.Second)
				panic("store")
			}
			return nil
		}, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { recover() }()
			do(g, result("x"))
		})
		time.Sleep(500 * time.Millisecond)
		wg.Go(func() {
			time.Sleep(time.Second)
			m.set(nil, nil)
			start := time.Now()
			got, err := do(g, result("y"))
			wantResult(t, got, err, "y")
			if took := time.Since(start); took > 11*time.Second {
				t.Errorf("waited %v for an attempt that had panicked", took)
			}
		})
		wg.Wait()
	})
}

// eager wakes its waiters for no reason, which a Waiter may.
type eager struct{ *meddler }

func (eager) Wait(context.Context, once.Key, once.Owner) error { return nil }

func TestStoreThatWakesTooEarlyIsNotAskedWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := eager{meddle(new(oncemem.Store))}
		a, err := newGuard(t, once.Config{Store: s}).Begin(t.Context(), key, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Release()
		_, err = do(newGuard(t, once.Config{Store: s, Wait: 5 * time.Second}), mustNotRun(t))
		wantErr(t, err, once.ErrInFlight)
		if n := s.calls["claim"].Load(); n > 200 {
			t.Errorf("claimed %d times in 5 s", n)
		}
	})
}

func TestStepsOfTheLongestKeyFit(t *testing.T) {
	g := newGuard(t, once.Config{})
	k := once.Key{Scope: strings.Repeat("s", once.MaxScope), ID: strings.Repeat("i", once.MaxID)}
	_, err := once.Do(t.Context(), g, k, once.Fingerprint{}, func(ctx context.Context) (int, error) {
		return once.Step(ctx, "x", func(ctx context.Context) (int, error) {
			return once.Step(ctx, "y", func(context.Context) (int, error) { return 1, nil })
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFinalFailureReadsTheSameForEveryCaller(t *testing.T) {
	g := newGuard(t, once.Config{})
	decline := func(context.Context) (string, error) {
		return "", fmt.Errorf("charging: %w", once.Final(errors.New("card is blocked")))
	}
	_, a := do(g, decline)
	_, b := do(g, decline)
	if a.Error() != b.Error() {
		t.Errorf("first %q, then %q", a, b)
	}
}

// An operator may complete any record that is in doubt, also that of a lock.
func TestLockThatAnOperatorCompletedIsRefused(t *testing.T) {
	g := newGuard(t, once.Config{})
	err := once.Lock(t.Context(), g, key, func(ctx context.Context, _ uint64) error {
		a, _ := once.FromContext(ctx)
		return g.Store().Complete(ctx, a.Key(), a.Owner(), once.Outcome{}, time.Hour)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = once.Lock(t.Context(), g, key, func(context.Context, uint64) error { t.Error("ran without owning"); return nil })
	if err == nil {
		t.Error("the lock was taken")
	}
}

// A record that was made without a fingerprint says nothing of what its later owner was asked for.
func TestLateOwnerIsNotGivenTheOutcomeOfAnotherRequest(t *testing.T) {
	store := new(oncemem.Store)
	g := newGuard(t, once.Config{Store: store, InDoubt: once.Rerun})
	other := newGuard(t, once.Config{Store: store, InDoubt: once.Rerun})
	a, b := once.FingerprintOf([]byte("a")), once.FingerprintOf([]byte("b"))
	do(g, func(context.Context) (string, error) { return "", errNet })
	got, err := once.Do(t.Context(), g, key, a, func(ctx context.Context) (string, error) {
		at, _ := once.FromContext(ctx)
		if err := store.Forget(ctx, key, at.Owner()); err != nil { // by an operator
			t.Fatal(err)
		}
		return once.Do(context.Background(), other, key, b, result("for b"))
	})
	wantErr(t, err, once.ErrLost)
	if got != "" {
		t.Errorf("the caller of request a was given %q", got)
	}
}

func TestClaimCutShortByTheLossOfItsCallerIsDisowned(t *testing.T) {
	faults(t, func(t *testing.T, m *meddler, g *once.Guard) {
		ctx, lose := context.WithCancelCause(t.Context())
		m.set(nil, func(_ context.Context, verb string) error {
			if verb == "claim" {
				lose(once.ErrLost)
				return context.Cause(ctx) // made all the same
			}
			return nil
		})
		_, err := once.Do(ctx, g, key, once.Fingerprint{}, mustNotRun(t))
		wantErr(t, err, once.ErrLost)
		m.set(nil, nil)
		got, err := do(g, result("x"))
		wantResult(t, got, err, "x")
	})
}
