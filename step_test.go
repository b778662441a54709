package once_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func TestStepIsRememberedAcrossAttempts(t *testing.T) {
	g := newGuard(t, once.Config{InDoubt: once.Rerun})
	var reserved, charged int
	var ids []string
	order := func(fail bool) (string, error) {
		return do(g, func(ctx context.Context) (string, error) {
			ids = append(ids, once.DerivedID(ctx, "provider"))
			room, err := once.Step(ctx, "reserve", func(context.Context) (int, error) { reserved++; return 7, nil })
			if err != nil || room != 7 {
				t.Fatalf("step gave %d, %v", room, err)
			}
			if fail {
				return "", errNet
			}
			return once.Step(ctx, "charge", func(context.Context) (string, error) { charged++; return "paid", nil })
		})
	}
	if _, err := order(true); err == nil {
		t.Fatal("did not fail")
	}
	got, err := order(false)
	wantResult(t, got, err, "paid")
	if reserved != 1 || charged != 1 {
		t.Errorf("reserved %d times, charged %d times", reserved, charged)
	}
	if len(ids) != 2 || ids[0] != ids[1] || len(ids[0]) != 36 || ids[0][14] != '8' {
		t.Errorf("derived ids are %q, want the same UUID of version 8 twice", ids)
	}
}

// The step's lease began later than the operation's, so that it is still running when another
// attempt takes the operation over.
func TestStepWaitsForTheStepOfACrashedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		crashed := newGuard(t, once.Config{Store: m, InDoubt: once.Rerun})
		go do(crashed, func(ctx context.Context) (string, error) {
			time.Sleep(8 * time.Second)
			return once.Step(ctx, "charge", func(context.Context) (string, error) {
				m.set(func(context.Context, string) error { return errNet }, nil)
				time.Sleep(time.Hour)
				return "zombie", nil
			})
		})
		time.Sleep(9 * time.Second)
		g := newGuard(t, once.Config{Store: m.Store, InDoubt: once.Rerun, Wait: time.Minute})
		got, err := do(g, func(ctx context.Context) (string, error) { return once.Step(ctx, "charge", result("paid")) })
		wantResult(t, got, err, "paid")
		time.Sleep(2 * time.Hour)
	})
}

func TestStepOutsideOfAnOperationIsAnError(t *testing.T) {
	if _, err := once.Step(t.Context(), "x", result("")); err == nil {
		t.Error("no error")
	}
	if id := once.DerivedID(t.Context(), "x"); id != "" {
		t.Errorf("derived id outside of an operation is %q", id)
	}
}

func TestStepNamesAreChecked(t *testing.T) {
	g := newGuard(t, once.Config{})
	do(g, func(ctx context.Context) (string, error) {
		for _, name := range []string{"", "a/b"} {
			if _, err := once.Step(ctx, name, result("")); err == nil || !strings.Contains(err.Error(), "step") {
				t.Errorf("step %q gave %v", name, err)
			}
		}
		return "", nil
	})
}

func TestNestedStepsAreKeptApart(t *testing.T) {
	g := newGuard(t, once.Config{})
	got, err := do(g, func(ctx context.Context) (string, error) {
		a, err := once.Step(ctx, "a", func(ctx context.Context) (string, error) { return once.Step(ctx, "b", result("inner")) })
		b, err2 := once.Step(ctx, "b", result("outer"))
		if err == nil {
			err = err2
		}
		return a + " " + b, err
	})
	wantResult(t, got, err, "inner outer")
}

func TestLockRefusesWhileHeldAndKeepsNothing(t *testing.T) {
	g := newGuard(t, once.Config{})
	var fences []uint64
	for range 3 {
		err := once.Lock(t.Context(), g, key, func(ctx context.Context, fence uint64) error {
			fences = append(fences, fence)
			err := once.Lock(ctx, g, key, func(context.Context, uint64) error { t.Error("two holders"); return nil })
			wantErr(t, err, once.ErrInFlight)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !(fences[0] < fences[1] && fences[1] < fences[2]) {
		t.Errorf("fences do not grow: %v", fences)
	}
	_, err := g.Store().Load(t.Context(), key)
	wantErr(t, err, once.ErrNotFound)
}

func TestLockLeftByACrashIsFreeAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meddle(new(oncemem.Store))
		g, other := newGuard(t, once.Config{Store: m}), newGuard(t, once.Config{Store: m.Store, Wait: time.Minute})
		var wg sync.WaitGroup
		wg.Go(func() {
			once.Lock(t.Context(), g, key, func(context.Context, uint64) error {
				m.set(func(context.Context, string) error { return errNet }, nil)
				time.Sleep(time.Hour)
				return nil
			})
		})
		synctest.Wait()
		start := time.Now()
		if err := once.Lock(t.Context(), other, key, func(context.Context, uint64) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("free after %v", took)
		}
		wg.Wait()
	})
}

func TestDerivedIDIsThatOfTheKeyAndOrdinalsCount(t *testing.T) {
	g := newGuard(t, once.Config{InDoubt: once.Rerun})
	for range 2 { // every attempt counts from zero
		do(g, func(ctx context.Context) (string, error) {
			a, _ := once.FromContext(ctx)
			if got := a.DerivedID("x"); got != key.DerivedID("x") || got == key.DerivedID("y") {
				t.Errorf("derived id is %s", got)
			}
			if n := []int{a.Ordinal("a"), a.Ordinal("a"), a.Ordinal("b"), a.Ordinal("a")}; !slices.Equal(n, []int{0, 1, 0, 2}) {
				t.Errorf("ordinals are %v", n)
			}
			return "", errNet
		})
	}
}
