package oncekafka_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// What a handler of many emits for records behind one that has failed must not be sent before the
// offset can pass them: the next member would send it again.
func TestTransactionsSendNothingFromBehindAFailure(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders", "invoices")
	ids := b.fill("orders", 1, 60)
	const failing = 20
	var e effects
	var failures atomic.Int64
	var fixed atomic.Bool
	guard := newGuard(t, once.Config{MaxAttempts: 1 << 30})
	member := func(id string) func() {
		return start(t, oncekafka.RunInTransactions, oncekafka.Config{
			Options:  b.transactional(id),
			Consumer: newConsumer(t, oncemsg.Config{Guard: guard, Publish: oncekafka.PublishInTransaction}),
			BatchHandler: func(_ context.Context, items []oncemsg.Item) []error {
				errs := make([]error, len(items))
				for i, it := range items {
					if string(it.Payload) == ids[failing] && !fixed.Load() {
						errs[i] = errors.New("no")
						failures.Add(1)
						continue
					}
					errs[i] = e.invoice(it.Context, it.Message)
				}
				return errs
			},
		})
	}
	stop := member("a")
	eventually(t, "the record has failed again", func() bool { return failures.Load() >= 3 })
	stop()
	fixed.Store(true)
	member("b")
	b.wantAllCommitted(1, 60)
	b.wantOutputs(ids)
}
