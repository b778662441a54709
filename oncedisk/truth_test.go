package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// A belief is what a caller knows of an operation from what was acknowledged to it.
type belief struct {
	kind    kind // zero: absent
	owner   once.Owner
	attempt int
	fence   uint64
	ends    time.Time // of the lease, or of the retention
	forget  time.Duration
	outcome once.Outcome
}

func (b belief) now() belief {
	now := time.Now()
	switch {
	case b.kind == kindDone && !b.ends.IsZero() && !now.Before(b.ends):
		return belief{}
	case b.kind == kindOpen && b.forget > 0 && !now.Before(b.ends.Add(b.forget)):
		return belief{}
	}
	return b
}

func (b belief) state() once.State {
	switch {
	case b.kind == kindDone:
		return once.Done
	case b.kind == kindOpen && time.Now().Before(b.ends):
		return once.InFlight
	case b.kind == kindOpen:
		return once.InDoubt
	}
	return 0
}

// differs says what is wrong with what the store says of the operation.
func (b belief) differs(rec once.Record, err error) error {
	b = b.now()
	switch {
	case b.kind == 0 && errors.Is(err, once.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("got the error %w, want it %v", err, b.state())
	case rec.State != b.state(), rec.Owner != b.owner, rec.Attempt != b.attempt:
		return fmt.Errorf("got it %v by %v, attempt %d; want %v by %v, attempt %d",
			rec.State, rec.Owner, rec.Attempt, b.state(), b.owner, b.attempt)
	case b.fence != 0 && rec.Fence != b.fence:
		return fmt.Errorf("got the fence %d, want %d", rec.Fence, b.fence)
	case b.kind == kindDone && !rec.Outcome.Equal(b.outcome):
		return errors.New("got another outcome than the one that was acknowledged")
	}
	return nil
}

// A truth is what must be found in a store, whatever happened to it.
type truth struct {
	mu    sync.Mutex
	known map[once.Key]belief
	fence uint64 // the largest that was handed out

	// While a verb runs, its key may be as it was or as it will be.
	running once.Key
	next    belief
}

// check compares the store with what is known, and returns how many records were found.
func (tr *truth) check(s once.Store) error {
	found := 0
	for k, b := range tr.known {
		rec, err := s.Load(context.Background(), k)
		wrong := b.differs(rec, err)
		if wrong != nil && k == tr.running {
			if tr.next.differs(rec, err) == nil {
				wrong = nil
			}
		}
		if wrong != nil {
			return fmt.Errorf("operation %s: %w", k.ID, wrong)
		}
		if err == nil {
			found++
		}
	}
	for _, err := range s.(once.Lister).List(context.Background(), once.Filter{}) {
		if err != nil {
			return err
		}
		found--
	}
	if found != 0 {
		return fmt.Errorf("List yields %d records too many", -found)
	}
	return nil
}

// A history is a sequence of random verbs, one after the other, on a store.
type history struct {
	*testing.T
	truth
	rnd  *rand.Rand
	keys int

	// For a while, most outcomes are kept for long, then for a while for short: so there are
	// segments that live and, between them, some that die.
	long bool

	// steady leaves out the waiting by which most records would be over in the end.
	steady bool
}

func newHistory(t *testing.T, seed uint64) *history {
	return &history{T: t, rnd: rand.New(rand.NewPCG(seed, 0)), truth: truth{known: map[once.Key]belief{}}}
}

// run does one verb. The truth is adjusted when the verb was acknowledged.
func (h *history) run(s *Store) error {
	switch n := h.rnd.IntN(20); {
	case n < 8:
		h.keys++
		return h.claim(s, once.Key{Scope: "crash", ID: fmt.Sprint(h.keys)})
	case n < 10 && h.keys > 0:
		return h.claim(s, h.some())
	case n == 10:
		pause := []time.Duration{time.Millisecond, 3 * time.Second, 2 * time.Minute}[h.rnd.IntN(3)]
		if h.steady {
			pause = 10 * time.Millisecond
		}
		time.Sleep(pause)
		return nil
	case n == 11:
		_, err := s.Sweep(context.Background())
		return err
	}
	return h.end(s)
}

func (h *history) some() once.Key {
	keys := slices.SortedFunc(maps.Keys(h.known), func(a, b once.Key) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID)
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return keys[h.rnd.IntN(len(keys))]
}

// verb calls f, which is to make the key's state what next says.
func (h *history) verb(k once.Key, next belief, f func() error) error {
	h.mu.Lock()
	if _, ok := h.known[k]; !ok {
		h.known[k] = belief{}
	}
	h.running, h.next = k, next
	h.mu.Unlock()
	err := f()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.known[k] = h.next
		h.running = once.Key{}
	}
	return err
}

func (h *history) claim(s *Store, k once.Key) error {
	b := h.known[k].now()
	c := once.Claim{
		Key: k, Owner: once.NewOwner(), Takeover: 100,
		Lease:  []time.Duration{time.Second, time.Minute, time.Hour}[h.rnd.IntN(3)],
		Forget: []time.Duration{0, 10 * time.Second, time.Hour}[h.rnd.IntN(3)],
	}
	next := b
	if st := b.state(); st == 0 || st == once.InDoubt {
		next = belief{kind: kindOpen, owner: c.Owner, attempt: b.attempt + 1,
			ends: time.Now().Add(c.Lease), forget: c.Forget}
	}
	return h.verb(k, next, func() error {
		rec, err := s.Claim(context.Background(), c)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if rec.Won(c) {
			if rec.Fence <= h.fence {
				h.Errorf("got the fence %d after %d", rec.Fence, h.fence)
			}
			h.fence = rec.Fence
			h.next.fence = rec.Fence
		}
		if err := h.next.differs(rec, nil); err != nil {
			h.Errorf("claim: %v", err)
		}
		return nil
	})
}

// end renews, completes, releases or forgets some operation, if it can.
func (h *history) end(s *Store) error {
	if len(h.known) == 0 {
		return nil
	}
	k := h.some()
	b := h.known[k].now()
	ctx := context.Background()
	switch n := h.rnd.IntN(10); {
	case b.kind == kindOpen && n < 2:
		lease := []time.Duration{0, time.Minute}[h.rnd.IntN(2)]
		next := b
		next.ends = time.Now().Add(lease)
		return h.verb(k, next, func() error { return s.Renew(ctx, k, b.owner, lease) })
	case b.kind == kindOpen && n == 2:
		return h.verb(k, belief{}, func() error { return s.Release(ctx, k, b.owner) })
	case b.kind != 0 && n == 3:
		return h.verb(k, belief{}, func() error { return s.Forget(ctx, k, b.owner) })
	case b.kind == kindOpen:
		return h.complete(s, k, b)
	}
	return nil
}

func (h *history) complete(s *Store, k once.Key, b belief) error {
	retention := []time.Duration{0, time.Second, time.Second, 5 * time.Second, time.Minute}[h.rnd.IntN(5)]
	if h.rnd.IntN(8) == 0 {
		h.long = !h.long
	}
	if h.long {
		retention = []time.Duration{time.Hour, 24 * time.Hour, once.Forever}[h.rnd.IntN(3)]
	}
	data := make([]byte, []int{0, 10, 5000, 16000, 16000}[h.rnd.IntN(5)])
	for i := range data {
		data[i] = byte(h.rnd.Uint32())
	}
	next := b
	next.kind, next.outcome = kindDone, once.Outcome{Failed: h.rnd.IntN(2) == 0, Type: "t", Data: data}
	next.ends = time.Now().Add(retention)
	switch retention {
	case 0:
		next = belief{}
	case once.Forever:
		next.ends = time.Time{}
	}
	return h.verb(k, next, func() error {
		return s.Complete(context.Background(), k, b.owner, next.outcome, retention)
	})
}
