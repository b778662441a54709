package once_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func requests(n int) []once.Request {
	reqs := make([]once.Request, n)
	for i := range reqs {
		reqs[i].Key = once.Key{Scope: "batch", ID: fmt.Sprint(i)}
	}
	return reqs
}

// A batch is nothing but many calls of Begin: in every state that a record can be in.
func TestBeginAllAnswersWhatBeginDoes(t *testing.T) {
	for name, store := range map[string]func(once.Store) once.Store{
		"batcher": func(s once.Store) once.Store { return s },
		"none":    func(s once.Store) once.Store { return struct{ once.Store }{s} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { beginAllAnswers(t, store(new(oncemem.Store))) })
		})
	}
}

func beginAllAnswers(t *testing.T, store once.Store) {
	other := newGuard(t, once.Config{Store: store, InDoubt: once.Rerun, MaxAttempts: 2}) // as another process
	begin := func(i int) *once.Attempt {
		a, err := other.Begin(t.Context(), requests(8)[i].Key, once.Fingerprint{1})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	begin(0).Complete(once.Outcome{Data: []byte("done")})
	begin(2).Abandon(nil) // will be taken over
	begin(3).Abandon(nil)
	begin(3).Abandon(nil) // has had its attempts
	begin(4).Complete(once.Outcome{Data: []byte("other")})
	defer begin(1).Release()

	reqs := requests(8)
	for i := range reqs {
		reqs[i].Fingerprint = once.Fingerprint{1}
	}
	reqs[4].Fingerprint = once.Fingerprint{2}
	reqs[5].Key.ID = ""
	reqs[7].Key = reqs[6].Key
	var seen []once.EventKind
	g := newGuard(t, once.Config{
		Store: store, InDoubt: once.Rerun, MaxAttempts: 2,
		Observe: func(_ context.Context, e once.Event) { seen = append(seen, e.Kind) },
	})
	begun := g.BeginAll(t.Context(), reqs)

	if out, done := begun[0].Attempt.Replay(); !done || string(out.Data) != "done" {
		t.Errorf("done: %q, %t", out.Data, done)
	}
	for i, want := range map[int]error{1: once.ErrInFlight, 3: once.ErrInDoubt, 4: once.ErrMismatch, 7: once.ErrInFlight} {
		if !errors.Is(begun[i].Err, want) {
			t.Errorf("request %d: error is %v, want %v", i, begun[i].Err, want)
		}
	}
	inFlight, _ := errors.AsType[*once.KeyError](begun[1].Err)
	inDoubt, _ := errors.AsType[*once.KeyError](begun[3].Err)
	if inFlight.RetryAfter <= 0 || inDoubt.Attempt != 2 || begun[5].Err == nil {
		t.Errorf("retry after %v, attempt %d, empty id: %v", inFlight.RetryAfter, inDoubt.Attempt, begun[5].Err)
	}
	for i, number := range map[int]int{2: 2, 6: 1} {
		a := begun[i].Attempt
		if a == nil || a.Number() != number {
			t.Fatalf("request %d: %v, want attempt %d", i, begun[i], number)
		}
		if err := a.Complete(once.Outcome{}); err != nil {
			t.Error(err)
		}
	}
	counts := make(map[once.EventKind]int)
	for _, kind := range seen {
		counts[kind]++
	}
	if counts[once.Claimed] != 2 || counts[once.Replayed] != 1 || counts[once.Refused] != 5 {
		t.Errorf("observed %v", seen)
	}
}

// What this process knows needs no round trip, and is told to those alone who ask for the same.
func TestBeginAllAnswersWhatThisProcessKnows(t *testing.T) {
	batches := 0
	store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) oncetest.Fault {
		if v == oncetest.ClaimBatch {
			batches = n
		}
		return oncetest.Fault{}
	})
	g := newGuard(t, once.Config{Store: store, CacheBytes: 1 << 20})
	reqs := requests(4)
	for i := range reqs {
		reqs[i].Fingerprint = once.Fingerprint{1}
	}
	begun := g.BeginAll(t.Context(), reqs)
	for _, b := range begun[:2] {
		b.Attempt.Complete(once.Outcome{Data: []byte("done")})
	}
	defer begun[2].Attempt.Release()
	defer begun[3].Attempt.Release()
	g.BeginAll(t.Context(), reqs[:2]) // fills the cache
	batches = 0
	reqs[1].Fingerprint, reqs[3].Fingerprint = once.Fingerprint{2}, once.Fingerprint{2}
	begun = g.BeginAll(t.Context(), reqs)
	if out, done := begun[0].Attempt.Replay(); !done || string(out.Data) != "done" {
		t.Errorf("done: %q, %t", out.Data, done)
	}
	for i, want := range map[int]error{1: once.ErrMismatch, 2: once.ErrInFlight, 3: once.ErrMismatch} {
		if !errors.Is(begun[i].Err, want) {
			t.Errorf("request %d: error is %v, want %v", i, begun[i].Err, want)
		}
	}
	if batches != 0 {
		t.Errorf("the store was asked %d times", batches)
	}
}

// A claim whose replies were lost for longer than its lease is nobody's: nothing ran under it.
func TestBeginAllGivesBackAClaimThatGrewOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		g := newGuard(t, once.Config{
			Store: oncetest.Faulty(store, func(v oncetest.Verb, n int) oncetest.Fault {
				if v == oncetest.ClaimBatch && n == 1 {
					return oncetest.Fault{After: errNet}
				}
				return oncetest.Fault{}
			}),
			Pause: func(context.Context, time.Duration) error { time.Sleep(2 * once.DefaultLease); return nil },
		})
		for i, b := range g.BeginAll(t.Context(), requests(2)) {
			if !errors.Is(b.Err, once.ErrInFlight) { // to be tried again
				t.Errorf("request %d: %v", i, b.Err)
			}
		}
		for i, b := range g.BeginAll(t.Context(), requests(2)) {
			if b.Err != nil || b.Attempt.Number() != 1 {
				t.Errorf("request %d, again: %v", i, b.Err)
			}
		}
	})
}

func TestBeginAllKeepsEveryLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, once.Config{Lease: time.Second})
		begun := g.BeginAll(t.Context(), requests(100))
		time.Sleep(time.Minute)
		for _, b := range begun {
			if err := b.Attempt.Complete(once.Outcome{}); err != nil {
				t.Fatal(err)
			}
		}
		for i, b := range g.BeginAll(t.Context(), requests(100)) {
			if _, done := b.Attempt.Replay(); !done {
				t.Errorf("operation %d is not done", i)
			}
		}
	})
}

// A reply that was lost is asked for again, and the claims are recognised as one's own.
func TestBeginAllOutlivesALostReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		g := newGuard(t, once.Config{Store: oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) oncetest.Fault {
			if v != oncetest.ClaimBatch {
				return oncetest.Fault{}
			}
			if batches = n; n == 1 {
				return oncetest.Fault{After: errNet}
			}
			return oncetest.Fault{}
		})})
		for i, b := range g.BeginAll(t.Context(), requests(10)) {
			if b.Err != nil || b.Attempt.Number() != 1 {
				t.Fatalf("request %d: %v", i, b.Err)
			}
			b.Attempt.Release()
		}
		if batches != 2 {
			t.Errorf("%d round trips, want 2", batches)
		}
	})
}

// A caller must not wait for a store that is down as often as it has requests.
func TestBeginAllAsksAStoreThatIsDownOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) oncetest.Fault {
			if v == oncetest.Claim {
				calls = n
			}
			return oncetest.Fault{Delay: time.Hour, Before: errNet}
		})
		g := newGuard(t, once.Config{Store: struct{ once.Store }{store}})
		reqs := requests(100)
		reqs[0].Key.ID = "" // says nothing about the store
		start := time.Now()
		for i, b := range g.BeginAll(t.Context(), reqs) {
			if down := errors.Is(b.Err, context.DeadlineExceeded); b.Err == nil || down != (i > 0) {
				t.Fatalf("request %d: %v", i, b.Err)
			}
		}
		if calls > 3 || time.Since(start) > 2*once.DefaultLease {
			t.Errorf("%d claims in %v", calls, time.Since(start))
		}
	})
}

// After a store that never answered, nothing that was never run is in flight or in doubt.
func TestBeginAllGivesBackWhatItMayHaveClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		g := newGuard(t, once.Config{
			InDoubt: once.Hold, DangerouslyTrustStore: true,
			Store: oncetest.Faulty(store, func(v oncetest.Verb, n int) oncetest.Fault {
				if v == oncetest.ClaimBatch {
					return oncetest.Fault{After: errNet}
				}
				return oncetest.Fault{}
			}),
		})
		for i, b := range g.BeginAll(t.Context(), requests(10)) {
			if !errors.Is(b.Err, errNet) {
				t.Fatalf("request %d: %v, want the store's error", i, b.Err)
			}
			if _, err := store.Load(t.Context(), requests(10)[i].Key); !errors.Is(err, once.ErrNotFound) {
				t.Errorf("request %d is recorded: %v", i, err)
			}
		}
	})
}

// An observer that panics costs the caller all that was begun, and must not cost everybody else
// the keys.
func TestPanicOfTheObserverFreesTheKeysOfTheBatch(t *testing.T) {
	for name, store := range map[string]once.Store{
		"batcher": new(oncemem.Store),
		"none":    struct{ once.Store }{new(oncemem.Store)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := 0
				g := newGuard(t, once.Config{Store: store, Observe: func(context.Context, once.Event) {
					if told++; told == 5 {
						panic("observer")
					}
				}})
				func() {
					defer func() {
						if recover() == nil {
							t.Error("the panic was swallowed")
						}
					}()
					g.BeginAll(t.Context(), requests(10))
				}()
				for i, b := range g.BeginAll(t.Context(), requests(10)) {
					if b.Err != nil || b.Attempt.Number() != 1 {
						t.Fatalf("request %d: %v", i, b.Err)
					}
					if err := b.Attempt.Complete(once.Outcome{}); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A claim whose reply was lost is given back also if the store then refuses to make it again.
func TestBeginAllGivesBackWhatIsRefusedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		g := newGuard(t, once.Config{
			InDoubt: once.Hold, DangerouslyTrustStore: true,
			Store: oncetest.Faulty(store, func(v oncetest.Verb, n int) oncetest.Fault {
				switch {
				case v == oncetest.ClaimBatch && n == 1:
					return oncetest.Fault{After: errNet}
				case v == oncetest.ClaimBatch:
					return oncetest.Fault{Before: once.ErrUnreadable}
				}
				return oncetest.Fault{}
			}),
		})
		for i, b := range g.BeginAll(t.Context(), requests(3)) {
			if !errors.Is(b.Err, once.ErrUnreadable) {
				t.Errorf("request %d: %v, want the store's last error", i, b.Err)
			}
			if _, err := store.Load(t.Context(), requests(3)[i].Key); !errors.Is(err, once.ErrNotFound) {
				t.Errorf("request %d is recorded: %v", i, err)
			}
		}
	})
}
