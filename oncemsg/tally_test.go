package oncemsg_test

import (
	"context"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

// rolling is a store in memory whose records, like those of a database, are rolled back when an
// attempt ends without an outcome.
type rolling struct{ *oncemem.Store }

func (s rolling) Bind(ctx context.Context, _ once.Record) context.Context { return ctx }

func (s rolling) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	if lease == 0 {
		return s.Release(ctx, k, o)
	}
	return s.Store.Renew(ctx, k, o, lease)
}

// A message that always fails must not come for ever, although no record is left of its failures
// and the broker does not count.
func TestFailuresWithoutARecordAreCounted(t *testing.T) {
	for name, policy := range map[string]once.Policy{"rerun": once.Rerun, "hold": once.Hold} {
		for _, mode := range []oncemsg.Mode{oncemsg.InTransaction, oncemsg.DropOnlyMayLose} {
			t.Run(mode.String()+"/"+name, func(t *testing.T) {
				eachWay(t, func(t *testing.T, handle way) {
					var store once.Store = new(oncemem.Store)
					if mode == oncemsg.InTransaction {
						store = rolling{new(oncemem.Store)}
					}
					c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store, InDoubt: policy}), Mode: mode})
					fails := func(context.Context, oncemsg.Message) error { return errNet }
					deliver := func(id string, h oncemsg.Handler) oncemsg.Decision {
						return handle(c, t.Context(), messages(id), h)[0]
					}
					for range once.DefaultMaxAttempts - 1 {
						wantDecision(t, deliver("a", fails), oncemsg.Failed, oncemsg.Retry)
						wantDecision(t, deliver("b", fails), oncemsg.Failed, oncemsg.Retry)
						early := func(context.Context, oncemsg.Message) error { return once.NoEffect(errNet) }
						wantDecision(t, deliver("a", early), oncemsg.Failed, oncemsg.Retry)
					}
					for range 2 { // also if it could not be set aside
						wantDecision(t, deliver("a", fails), oncemsg.Poisoned, oncemsg.DeadLetter)
					}
					wantDecision(t, deliver("b", new(runs).handle), oncemsg.Ran, oncemsg.Ack)
				})
			})
		}
	}
}
