package oncemsg_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/oncetest"
)

func TestDropOnlyDropsCopiesInOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verbs := map[oncetest.Verb]int{}
		store := faulty(func(v oncetest.Verb, n int) oncetest.Fault { verbs[v] = n; return oncetest.Fault{} })
		c, r := newConsumer(t, oncemsg.Config{
			Guard: newGuard(t, once.Config{Store: store}), Mode: oncemsg.DropOnlyMayLose, Window: 7 * day,
		}), new(runs)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
		for range 6 {
			time.Sleep(day)
			wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
		}
		if verbs[oncetest.Claim] != 7 || len(verbs) != 1 {
			t.Errorf("verbs are %v, want 7 claims and nothing else", verbs)
		}
		time.Sleep(2 * day)
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	})
}

func TestDropOnlyRunsAgainWhatHasFailed(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{Mode: oncemsg.DropOnlyMayLose, Window: once.Forever}), &runs{errs: []error{errNet}}
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Failed, oncemsg.Retry)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
	other := message
	other.ID = "8"
	bad := &runs{errs: []error{once.Final(errNet)}}
	wantDecision(t, c.Handle(t.Context(), other, bad.handle), oncemsg.Rejected, oncemsg.DeadLetter)
}

// The loss that is in the mode's name.
func TestDropOnlyLosesTheMessageOfACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, r := new(oncemem.Store), new(runs)
		crashing := newConsumer(t, oncemsg.Config{
			Guard: newGuard(t, once.Config{Store: store}), Mode: oncemsg.DropOnlyMayLose,
		})
		go crashing.Handle(t.Context(), message, func(context.Context, oncemsg.Message) error {
			<-t.Context().Done() // it never says how it ended
			return nil
		})
		time.Sleep(time.Hour)
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store}), Mode: oncemsg.DropOnlyMayLose})
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Duplicate, oncemsg.Ack)
		r.want(t, 0)
	})
}

// A mark of which the reply was lost must not make the next delivery a duplicate.
func TestDropOnlyTakesBackAMarkThatWasNotAnswered(t *testing.T) {
	store := faulty(func(v oncetest.Verb, n int) oncetest.Fault {
		if v == oncetest.Claim && n == 1 {
			return oncetest.Fault{After: errNet}
		}
		return oncetest.Fault{}
	})
	c, r := newConsumer(t, oncemsg.Config{
		Guard: newGuard(t, once.Config{Store: store}), Mode: oncemsg.DropOnlyMayLose,
		Fingerprint: oncemsg.ContentFingerprint,
	}), new(runs)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Unavailable, oncemsg.Retry)
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	other := message
	other.Payload = nil
	wantDecision(t, c.Handle(t.Context(), other, r.handle), oncemsg.Mismatch, oncemsg.DeadLetter)
	if oncemsg.Emit(t.Context()) == nil {
		t.Error("emitted outside of a handler")
	}
}

// A message that always fails must not hold up an ordered broker for ever, nor come for ever from
// any other. No mark is left, so that it can be moved back.
func TestDropOnlyPoisonIsDeadLettered(t *testing.T) {
	for name, policy := range map[string]once.Policy{"rerun": once.Rerun, "hold": once.Hold} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, handle way) {
				c := newConsumer(t, oncemsg.Config{
					Guard: newGuard(t, once.Config{InDoubt: policy}), Mode: oncemsg.DropOnlyMayLose,
				})
				m, fails := message, sleeping(0, func(context.Context, oncemsg.Message) error { return errNet })
				deliver := func(attempt int, h oncemsg.Handler) oncemsg.Decision {
					m.Attempt = attempt
					return handle(c, t.Context(), []oncemsg.Message{m}, h)[0]
				}
				for n := range once.DefaultMaxAttempts - 1 {
					wantDecision(t, deliver(n+1, fails), oncemsg.Failed, oncemsg.Retry)
				}
				early := func(context.Context, oncemsg.Message) error { return once.NoEffect(errNet) }
				wantDecision(t, deliver(once.DefaultMaxAttempts, early), oncemsg.Failed, oncemsg.Retry)
				wantDecision(t, deliver(once.DefaultMaxAttempts, fails), oncemsg.Poisoned, oncemsg.DeadLetter)
				wantDecision(t, deliver(1, new(runs).handle), oncemsg.Ran, oncemsg.Ack)
			})
		})
	}
}
