package oncemem_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func TestAllocations(t *testing.T) {
	ctx := context.Background()
	s := new(oncemem.Store)
	n, pending := 0, ids(20_000)
	steady := func() {
		c := newClaim(pending[n%len(pending)])
		n++
		s.Claim(ctx, c)
		if err := s.Complete(ctx, c.Key, c.Owner, receipt, time.Nanosecond); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * len(pending) {
		steady() // until there are records to be used again
	}
	// An average below one: tables and queues are made larger or smaller now and then.
	if got := testing.AllocsPerRun(10_000, steady); got > 0 {
		t.Errorf("claim and complete allocate %v times, want 0", got)
	}
	done := win(t, s, "done")
	complete(t, s, done, 1000, time.Hour)
	replay := func() {
		if rec, err := s.Claim(ctx, done); err != nil || rec.State != once.Done {
			t.Fatal(rec.State, err)
		}
	}
	if got := testing.AllocsPerRun(1000, replay); got > 0 {
		t.Errorf("a replay allocates %v times, want 0", got)
	}
}

// TestCountsStayTrue lets everything that changes records run at once, and compares what the store
// counted with what it has.
func TestCountsStayTrue(t *testing.T) {
	t.Parallel()
	const workers, verbs, keys = 8, 4000, 300
	s := &oncemem.Store{MaxRecords: keys / 2, MaxBytes: keys / 2 * 600}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range verbs {
				someVerb(t.Context(), s, strconv.Itoa(rand.IntN(keys)))
			}
		})
	}
	all.Wait()
	records, bytes := s.Held()
	if r, b := s.Counted(); r != records || b != bytes {
		t.Errorf("the store counts %d records of %d bytes, but has %d of %d", records, bytes, r, b)
	}
	if records > keys/2 {
		t.Errorf("the store has %d records, at most %d are allowed", records, keys/2)
	}
	for rec, err := range s.List(t.Context(), once.Filter{}) {
		if err == nil {
			err = s.Forget(t.Context(), rec.Key, rec.Owner)
		}
		if err != nil && !errors.Is(err, once.ErrNotFound) { // it was over meanwhile
			t.Fatal(err)
		}
	}
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if records, bytes := s.Held(); records != 0 || bytes != 0 {
		t.Errorf("the empty store counts %d records of %d bytes", records, bytes)
	}
}

// someVerb does a random verb, as one of two owners. Errors do not matter: others do the same.
func someVerb(ctx context.Context, s *oncemem.Store, id string) {
	c := newClaim(id)
	c.Owner[1] = byte(rand.IntN(2))
	c.Forget = time.Duration(rand.IntN(3)) * time.Microsecond
	switch rand.IntN(10) {
	case 0:
		s.Release(ctx, c.Key, c.Owner)
	case 1:
		s.Renew(ctx, c.Key, c.Owner, time.Duration(rand.IntN(2))*time.Hour)
	case 2:
		s.Sweep(ctx)
	case 3:
		s.Forget(ctx, c.Key, c.Owner)
	case 4:
		for range s.List(ctx, once.Filter{State: once.Done}) {
			break
		}
	case 5:
		ctx, cancel := context.WithTimeout(ctx, 100*time.Microsecond)
		defer cancel()
		s.Wait(ctx, c.Key, c.Owner)
	case 6, 7:
		out := once.Outcome{Type: "text/plain", Data: make([]byte, rand.IntN(600))}
		s.Complete(ctx, c.Key, c.Owner, out, time.Duration(rand.IntN(3))*100*time.Microsecond)
	default:
		s.Claim(ctx, c)
	}
}

func TestClosedStoreRefusesAndWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(oncemem.Store)
		ctx := t.Context()
		c := win(t, s, "flying")
		complete(t, s, win(t, s, "done"), 100, time.Hour)
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(ctx, c.Key, c.Owner) }()
		synctest.Wait()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-waited; err != nil {
			t.Errorf("the wait ended with %v, want nil", err)
		}
		_, claim := s.Claim(ctx, c)
		_, load := s.Load(ctx, c.Key)
		var list error
		for _, list = range s.List(ctx, once.Filter{}) {
		}
		for verb, err := range map[string]error{
			"claim":    claim,
			"batch":    s.ClaimBatch(ctx, []once.Claim{c})[0].Err,
			"renew":    s.Renew(ctx, c.Key, c.Owner, time.Hour),
			"complete": s.Complete(ctx, c.Key, c.Owner, once.Outcome{}, time.Hour),
			"release":  s.Release(ctx, c.Key, c.Owner),
			"forget":   s.Forget(ctx, c.Key, c.Owner),
			"load":     load,
			"list":     list,
			"wait":     s.Wait(ctx, c.Key, c.Owner),
		} {
			if !errors.Is(err, once.ErrClosed) {
				t.Errorf("%s on a closed store: got error %v, want ErrClosed", verb, err)
			}
		}
		if records, bytes := s.Held(); records != 0 || bytes != 0 {
			t.Errorf("the closed store counts %d records of %d bytes", records, bytes)
		}
	})
}
