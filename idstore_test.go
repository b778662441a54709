package once_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
)

func openIDs(t testing.TB) *oncedisk.IDs {
	t.Helper()
	s, err := oncedisk.OpenIDs(oncedisk.IDsConfig{Dir: filepath.Join(t.TempDir(), "ids"), Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestDoIDsDealsWithWhatIsNew(t *testing.T) {
	s := openIDs(t)
	ctx := t.Context()
	if err := s.CompleteIDs(ctx, "s", once.NewOwner(), []string{"done"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ClaimIDs(ctx, "s", once.NewOwner(), []string{"elsewhere"}); err != nil {
		t.Fatal(err)
	}
	ids := []string{"a", "done", "b", "elsewhere", "a"}
	var ran []int
	states, err := once.DoIDs(ctx, s, "s", ids, func(_ context.Context, fresh []int) error {
		ran = fresh
		return nil
	})
	if err != nil || !slices.Equal(ran, []int{0, 2}) {
		t.Errorf("DoIDs ran %v, error %v; want 0 and 2", ran, err)
	}
	want := []once.IDState{once.IDClaimed, once.IDDone, once.IDClaimed, once.IDInFlight, once.IDInFlight}
	if !slices.Equal(states, want) {
		t.Errorf("DoIDs found %v, want %v", states, want)
	}
	if _, err := once.DoIDs(ctx, s, "s", []string{"a", "b"}, func(context.Context, []int) error {
		t.Error("what is done was run again")
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// What was not dealt with is given back, however that ended; nothing is lost by being marked first.
func TestDoIDsGivesBackWhatFailed(t *testing.T) {
	s := openIDs(t)
	failure := errors.New("failed")
	for name, run := range map[string]func(context.Context, []int) error{
		"error": func(context.Context, []int) error { return failure },
		"panic": func(context.Context, []int) error { panic(failure) },
	} {
		t.Run(name, func(t *testing.T) {
			func() {
				defer func() { recover() }()
				if _, err := once.DoIDs(t.Context(), s, "s", []string{name}, run); !errors.Is(err, failure) {
					t.Errorf("DoIDs returned %v, want the error of the run", err)
				}
			}()
			ran := 0
			if _, err := once.DoIDs(t.Context(), s, "s", []string{name}, func(context.Context, []int) error {
				ran++
				return nil
			}); err != nil || ran != 1 {
				t.Errorf("DoIDs ran it %d times when it came again, error %v", ran, err)
			}
		})
	}
}

// A caller who gives up while its batch is run completes it nevertheless: it has happened.
func TestDoIDsCompletesWhatHappened(t *testing.T) {
	s := openIDs(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := once.DoIDs(ctx, s, "s", []string{"a"}, func(context.Context, []int) error {
		cancel()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	states, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a"})
	if err != nil || states[0] != once.IDDone {
		t.Errorf("it is %v, error %v; want done", states, err)
	}
}

// failing does not complete the first times.
type failing struct {
	once.IDStore
	times int
}

func (f *failing) CompleteIDs(ctx context.Context, scope string, o once.Owner, ids []string) error {
	if f.times--; f.times >= 0 {
		return errors.New("no answer")
	}
	return f.IDStore.CompleteIDs(ctx, scope, o, ids)
}

// What could not be completed is tried again, and then given back: it must not be in flight for
// ever in a store whose claims have no lease.
func TestDoIDsWhenTheStoreDoesNotAnswer(t *testing.T) {
	for times, want := range map[int]once.IDState{2: once.IDDone, 3: once.IDClaimed} {
		s := &failing{openIDs(t), times}
		_, err := once.DoIDs(t.Context(), s, "s", []string{"a"}, func(context.Context, []int) error { return nil })
		if failed := err != nil; failed != (want == once.IDClaimed) {
			t.Errorf("after %d failures DoIDs returned %v", times, err)
		}
		states, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a"})
		if err != nil || states[0] != want {
			t.Errorf("after %d failures it is %v, error %v; want %v", times, states, err, want)
		}
	}
}

// hanging answers nothing until the context is done.
type hanging struct{ claims bool }

func (h hanging) ClaimIDs(ctx context.Context, _ string, _ once.Owner, ids []string) ([]once.IDState, error) {
	if h.claims {
		return slices.Repeat([]once.IDState{once.IDClaimed}, len(ids)), nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) CompleteIDs(ctx context.Context, _ string, _ once.Owner, _ []string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) ReleaseIDs(ctx context.Context, _ string, _ once.Owner, _ []string) error {
	<-ctx.Done()
	return ctx.Err()
}

// A consumer must not stand still for ever because its store does.
func TestDoIDsReturnsFromAStoreThatHangs(t *testing.T) {
	for _, claims := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			_, err := once.DoIDs(ctx, hanging{claims}, "s", []string{"a"}, func(context.Context, []int) error { return nil })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("claims %v: DoIDs returned %v, want that the store does not answer", claims, err)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("claims %v: DoIDs took %v", claims, took)
			}
		})
	}
}
