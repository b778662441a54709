// Package messages checks that messages are handled in the transactions of a store that has them.
package messages

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// A Ledger is a table in the store's database.
type Ledger struct {
	// Add writes a row of that name in the transaction that is in the context.
	Add func(ctx context.Context, name string) error

	// Count returns how many rows of that name are committed.
	Count func(t testing.TB, name string) int
}

// TestHandled runs all tests. Open returns a store whose claims are open transactions, and a ledger,
// both new.
func TestHandled(t *testing.T, open func(*testing.T) (once.Store, Ledger)) {
	for name, test := range map[string]func(*testing.T, once.Store, Ledger){
		"effects, record and output together": testTogether,
		"copies at the same time":             testCopies,
		"batch, message by message":           testBatch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := open(t)
			test(t, s, l)
		})
	}
}

// consumer returns one whose handlers run in the store's transactions. What they emit is published
// by the function.
func consumer(
	t *testing.T, s once.Store, publish func(context.Context, []oncemsg.Output) error,
) *oncemsg.Consumer {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold, DangerouslyTrustStore: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := oncemsg.New(oncemsg.Config{
		Guard: g, Subscriber: "ledger", Mode: oncemsg.InTransaction, Publish: publish,
		Backoff: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func verdict(t testing.TB, d oncemsg.Decision, kind oncemsg.Kind, verb oncemsg.Verb) {
	t.Helper()
	if d.Kind != kind || d.Verb != verb {
		t.Fatalf("decision is %v, %v (%v); want %v, %v", d.Kind, d.Verb, d.Err, kind, verb)
	}
}

// A message's effects in the database, its record and what it emits are there together or not at
// all, and the handler need know nothing of it.
func testTogether(t *testing.T, s once.Store, l Ledger) {
	published, down := []string(nil), true
	c := consumer(t, s, func(_ context.Context, outputs []oncemsg.Output) error {
		if down {
			return errors.New("broker is down")
		}
		for _, o := range outputs {
			published = append(published, o.ID)
		}
		return nil
	})
	var fail error
	handler := func(ctx context.Context, m oncemsg.Message) error {
		if err := l.Add(ctx, m.ID); err != nil {
			return err
		}
		return errors.Join(oncemsg.Emit(ctx, oncemsg.Output{To: "booked"}), fail)
	}
	m := oncemsg.Message{ID: "payment 7"}

	fail = errors.New("out of paper")
	verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Failed, oncemsg.Retry)
	m.Attempt = once.DefaultMaxAttempts // by the broker's count: the record's was rolled back
	verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Poisoned, oncemsg.DeadLetter)
	if n := l.Count(t, m.ID); n != 0 {
		t.Fatalf("%d effects of attempts that failed", n)
	}
	fail = nil
	verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Unpublished, oncemsg.Retry)
	down = false
	verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Duplicate, oncemsg.Ack)
	if n := l.Count(t, m.ID); n != 1 || len(published) != 1 {
		t.Errorf("%d effects, %d messages published; want one of each", n, len(published))
	}
}

// Whoever comes first is the one who runs: copies that come at the same time wait or are told to
// come again, and are never acknowledged before the first is committed.
func testCopies(t *testing.T, s once.Store, l Ledger) {
	c := consumer(t, s, nil)
	var copies sync.WaitGroup
	for range 4 {
		copies.Go(func() {
			for range 100 {
				d := c.Handle(t.Context(), oncemsg.Message{ID: "m"}, func(ctx context.Context, m oncemsg.Message) error {
					return l.Add(ctx, m.ID)
				})
				switch {
				case d.Verb != oncemsg.Ack && d.Kind != oncemsg.InFlight:
					t.Errorf("decision is %v (%v)", d.Kind, d.Err)
					return
				case d.Verb == oncemsg.Ack:
					if l.Count(t, "m") != 1 {
						t.Error("acknowledged before it was committed")
					}
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Error("never acknowledged")
		})
	}
	copies.Wait()
	if n := l.Count(t, "m"); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}

// Each message of a batch has a transaction of its own: what fails takes nothing else along.
func testBatch(t *testing.T, s once.Store, l Ledger) {
	c := consumer(t, s, nil)
	ms := []oncemsg.Message{{ID: "a"}, {ID: "bad"}, {ID: "a"}, {ID: "c"}}
	handler := func(_ context.Context, items []oncemsg.Item) []error {
		errs := make([]error, len(items))
		for i, item := range items {
			errs[i] = l.Add(item.Context, item.ID)
			if item.ID == "bad" {
				errs[i] = errors.New("bad")
			}
		}
		return errs
	}
	decisions := c.HandleBatch(t.Context(), ms, handler)
	verdict(t, decisions[0], oncemsg.Ran, oncemsg.Ack)
	verdict(t, decisions[1], oncemsg.Failed, oncemsg.Retry)
	verdict(t, decisions[2], oncemsg.Duplicate, oncemsg.Ack)
	verdict(t, decisions[3], oncemsg.Ran, oncemsg.Ack)
	if a, bad, c := l.Count(t, "a"), l.Count(t, "bad"), l.Count(t, "c"); a != 1 || bad != 0 || c != 1 {
		t.Errorf("%d, %d and %d effects; want 1, 0 and 1", a, bad, c)
	}
}
