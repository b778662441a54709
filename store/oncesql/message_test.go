package oncesql_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/store/oncesql"
)

// inTransaction returns a consumer whose handlers run in the store's transactions. What they emit is
// published by the function.
func inTransaction(
	t *testing.T, s *oncesql.Transactional, publish func(context.Context, []oncemsg.Output) error,
) *oncemsg.Consumer {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold, DangerouslyTrustStore: true})
	ok(t, err)
	c, err := oncemsg.New(oncemsg.Config{
		Guard: g, Subscriber: "ledger", Mode: oncemsg.InTransaction, Publish: publish,
		Backoff: func(int) time.Duration { return time.Millisecond },
	})
	ok(t, err)
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
func TestMessageIsHandledInItsTransaction(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		s := openTransactional(t, cfg)
		published, down := []string(nil), true
		c := inTransaction(t, s, func(_ context.Context, outputs []oncemsg.Output) error {
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
			if err := b.add(ctx, m.ID); err != nil {
				return err
			}
			return errors.Join(oncemsg.Emit(ctx, oncemsg.Output{To: "booked"}), fail)
		}
		m := oncemsg.Message{ID: "payment 7"}

		fail = errors.New("out of paper")
		verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Failed, oncemsg.Retry)
		m.Attempt = once.DefaultMaxAttempts // by the broker's count: the record's was rolled back
		verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Poisoned, oncemsg.DeadLetter)
		if n := b.count(t, m.ID); n != 0 {
			t.Fatalf("%d effects of attempts that failed", n)
		}
		fail = nil
		verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Unpublished, oncemsg.Retry)
		down = false
		verdict(t, c.Handle(t.Context(), m, handler), oncemsg.Duplicate, oncemsg.Ack)
		if n := b.count(t, m.ID); n != 1 || len(published) != 1 {
			t.Errorf("%d effects, %d messages published; want one of each", n, len(published))
		}
	})
}

// Whoever comes first is the one who runs: copies that come at the same time wait or are told to
// come again, and are never acknowledged before the first is committed.
func TestCopiesOfAMessageCommitOnce(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		s := openTransactional(t, cfg)
		c := inTransaction(t, s, nil)
		var copies sync.WaitGroup
		for range 4 {
			copies.Go(func() {
				for range 100 {
					d := c.Handle(t.Context(), oncemsg.Message{ID: "m"}, func(ctx context.Context, m oncemsg.Message) error {
						return b.add(ctx, m.ID)
					})
					switch {
					case d.Verb != oncemsg.Ack && d.Kind != oncemsg.InFlight:
						t.Errorf("decision is %v (%v)", d.Kind, d.Err)
						return
					case d.Verb == oncemsg.Ack:
						if b.count(t, "m") != 1 {
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
		if n := b.count(t, "m"); n != 1 {
			t.Errorf("%d effects, want 1", n)
		}
	})
}

// Each message of a batch has a transaction of its own: what fails takes nothing else along.
func TestBatchCommitsMessageByMessage(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		s := openTransactional(t, cfg)
		c := inTransaction(t, s, nil)
		ms := []oncemsg.Message{{ID: "a"}, {ID: "bad"}, {ID: "a"}, {ID: "c"}}
		handler := func(_ context.Context, items []oncemsg.Item) []error {
			errs := make([]error, len(items))
			for i, item := range items {
				errs[i] = b.add(item.Context, item.ID)
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
		if a, bad, c := b.count(t, "a"), b.count(t, "bad"), b.count(t, "c"); a != 1 || bad != 0 || c != 1 {
			t.Errorf("%d, %d and %d effects; want 1, 0 and 1", a, bad, c)
		}
	})
}
