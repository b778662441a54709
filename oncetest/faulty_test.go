package oncetest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func noFault(oncetest.Verb, int) oncetest.Fault { return oncetest.Fault{} }

// Without faults the wrapper changes nothing.
func TestFaultyPassesTheContract(t *testing.T) {
	for name, open := range map[string]func() once.Store{
		"of a store with all optional interfaces": func() once.Store { return new(oncemem.Store) },
		"of itself": func() once.Store { return oncetest.Faulty(new(oncemem.Store), noFault) },
	} {
		t.Run(name, func(t *testing.T) {
			oncetest.TestStore(t, oncetest.Options{
				Open:      func(*testing.T) once.Store { return oncetest.Faulty(open(), noFault) },
				Bubble:    true,
				Histories: 2,
			})
		})
	}
}

// Every verb may be carried out twice without anybody noticing, but for those that then fail as if
// the owner had lost, which the first time made true.
func TestVerbsMayBeDeliveredTwice(t *testing.T) {
	ctx := t.Context()
	s := oncetest.Faulty(new(oncemem.Store), func(oncetest.Verb, int) oncetest.Fault {
		return oncetest.Fault{Twice: true}
	})
	c := claim("twice")
	rec, err := s.Claim(ctx, c)
	if err != nil || !rec.Won(c) || rec.Attempt != 1 {
		t.Errorf("claim: got %v, attempt %d, error %v, want to win the first", rec.State, rec.Attempt, err)
	}
	out := once.Outcome{Data: []byte("done")}
	for verb, err := range map[string]error{
		"renew":    s.Renew(ctx, c.Key, c.Owner, time.Hour),
		"complete": s.Complete(ctx, c.Key, c.Owner, out, time.Hour),
	} {
		if err != nil {
			t.Errorf("%s: got error %v, want none", verb, err)
		}
	}
	if rec, err := s.Load(ctx, c.Key); err != nil || !rec.Outcome.Equal(out) {
		t.Errorf("load: got %v, error %v, want the outcome", rec.State, err)
	}
	released := claim("released")
	s.Claim(ctx, released)
	if err := s.Release(ctx, released.Key, released.Owner); !errors.Is(err, once.ErrLost) {
		t.Errorf("release: got error %v, want ErrLost from the second time", err)
	}
}

func claim(id string) once.Claim {
	return once.Claim{Key: once.Key{Scope: "s", ID: id}, Owner: once.Owner{1}, Lease: time.Hour}
}

func TestFaultBeforeCarriesNothingOut(t *testing.T) {
	lost := errors.New("request lost")
	inner := new(oncemem.Store)
	s := oncetest.Faulty(inner, func(v oncetest.Verb, n int) oncetest.Fault {
		if n == 1 {
			return oncetest.Fault{Before: lost, After: errors.New("not reached")}
		}
		return oncetest.Fault{}
	})
	for verb, do := range verbs(s) {
		inner.Forget(t.Context(), claim("a").Key, claim("a").Owner)
		if verb != oncetest.Claim && verb != oncetest.ClaimBatch {
			inner.Claim(t.Context(), claim("a"))
		}
		before, _ := inner.Load(t.Context(), claim("a").Key)
		if err := do(t.Context()); !errors.Is(err, lost) {
			t.Errorf("%s: got error %v, want the fault", verb, err)
		}
		after, _ := inner.Load(t.Context(), claim("a").Key)
		if after.State != before.State || after.Fence != before.Fence {
			t.Errorf("%s was carried out, although its request was lost", verb)
		}
		if err := do(t.Context()); err != nil {
			t.Errorf("%s, the second time: got error %v, want none", verb, err)
		}
	}
}

func TestFaultAfterCarriesTheVerbOut(t *testing.T) {
	lost := errors.New("reply lost")
	inner := new(oncemem.Store)
	s := oncetest.Faulty(inner, func(oncetest.Verb, int) oncetest.Fault {
		return oncetest.Fault{After: lost}
	})
	want := map[oncetest.Verb]once.State{
		oncetest.Claim: once.InFlight, oncetest.ClaimBatch: once.InFlight, oncetest.Renew: once.InDoubt,
		oncetest.Complete: once.Done, oncetest.Release: 0, oncetest.Forget: 0,
	}
	for verb, do := range verbs(s) {
		inner.Forget(t.Context(), claim("a").Key, claim("a").Owner)
		if verb != oncetest.Claim && verb != oncetest.ClaimBatch {
			inner.Claim(t.Context(), claim("a"))
		}
		if err := do(t.Context()); !errors.Is(err, lost) {
			t.Errorf("%s: got error %v, want the fault", verb, err)
		}
		state, changes := want[verb]
		if rec, _ := inner.Load(t.Context(), claim("a").Key); changes && rec.State != state {
			t.Errorf("%s, whose reply was lost, left the operation %v, want %v", verb, rec.State, state)
		}
	}
}

// verbs returns the verbs of the store on the claim "a", whose lease renew ends.
func verbs(s once.Store) map[oncetest.Verb]func(context.Context) error {
	c := claim("a")
	return map[oncetest.Verb]func(context.Context) error{
		oncetest.Claim:   func(ctx context.Context) error { _, err := s.Claim(ctx, c); return err },
		oncetest.Renew:   func(ctx context.Context) error { return s.Renew(ctx, c.Key, c.Owner, 0) },
		oncetest.Release: func(ctx context.Context) error { return s.Release(ctx, c.Key, c.Owner) },
		oncetest.Load:    func(ctx context.Context) error { _, err := s.Load(ctx, c.Key); return err },
		oncetest.Complete: func(ctx context.Context) error {
			return s.Complete(ctx, c.Key, c.Owner, once.Outcome{}, time.Hour)
		},
		oncetest.ClaimBatch: func(ctx context.Context) error {
			return s.(once.Batcher).ClaimBatch(ctx, []once.Claim{c})[0].Err
		},
		oncetest.Forget: func(ctx context.Context) error {
			return s.(once.Forgetter).Forget(ctx, c.Key, c.Owner)
		},
		oncetest.Sweep: func(ctx context.Context) error { _, err := s.(once.Sweeper).Sweep(ctx); return err },
		oncetest.List: func(ctx context.Context) error {
			for _, err := range s.(once.Lister).List(ctx, once.Filter{}) {
				return err
			}
			return nil
		},
	}
}

func TestPlanCountsEachVerb(t *testing.T) {
	var told []string
	s := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) oncetest.Fault {
		told = append(told, string(v)+" "+string(rune('0'+n)))
		return oncetest.Fault{}
	})
	ctx, c := t.Context(), claim("a")
	s.Claim(ctx, c)
	s.Claim(ctx, c)
	s.Load(ctx, c.Key)
	s.Claim(ctx, c)
	if want := []string{"claim 1", "claim 2", "load 1", "claim 3"}; !slices.Equal(told, want) {
		t.Errorf("the plan was asked for %q, want %q", told, want)
	}
}

func TestDelayPassesBeforeTheVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := new(oncemem.Store)
		s := oncetest.Faulty(inner, func(oncetest.Verb, int) oncetest.Fault {
			return oncetest.Fault{Delay: time.Minute}
		})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Claim(ctx, claim("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a claim with less time than it is delayed: got error %v", err)
		}
		if _, err := inner.Load(t.Context(), claim("a").Key); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("a claim whose caller gave up was carried out (%v)", err)
		}
		_, err := s.Claim(t.Context(), claim("a"))
		if took := time.Since(start); err != nil || took != time.Minute+time.Second {
			t.Errorf("a delayed claim: got error %v after %v", err, took)
		}
	})
}

// bare has the five verbs and nothing else.
type bare struct{ once.Store }

func TestFaultyMakesUpForWhatTheStoreLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := oncetest.Faulty(bare{new(oncemem.Store)}, noFault)
		do := verbs(s)
		for _, v := range []oncetest.Verb{oncetest.List, oncetest.Forget} {
			if err := do[v](ctx); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: got error %v, want ErrUnsupported", v, err)
			}
		}
		for _, v := range []oncetest.Verb{oncetest.Sweep, oncetest.ClaimBatch} {
			if err := do[v](ctx); err != nil {
				t.Errorf("%s: got error %v, want none", v, err)
			}
		}
		c := claim("a")
		waited := make(chan error, 1)
		go func() { waited <- s.(once.Waiter).Wait(ctx, c.Key, c.Owner) }()
		time.Sleep(time.Second)
		select {
		case err := <-waited:
			t.Fatalf("the wait for an operation in flight ended with %v", err)
		default:
		}
		s.Release(ctx, c.Key, c.Owner)
		if err := <-waited; err != nil {
			t.Errorf("the wait ended with %v, want nil", err)
		}
		if w := s.(once.Guarantor).Guarantees().Weakness(); w == "" {
			t.Error("a store that promises nothing has no weakness")
		}
		if got := s.(once.Binder).Bind(ctx, once.Record{}); got != ctx {
			t.Error("a context was bound to something by a store that binds nothing")
		}
		if err := s.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
}
