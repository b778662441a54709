package oncekafka_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// A panic of a handler of many says nothing of a record that was held back from it.
func TestPanicOfABatchSparesWhatWasHeldBack(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 7)
	const inFlight, held = 5, 6
	guard := newGuard(t, once.Config{InDoubt: once.Hold})
	c := newConsumer(t, oncemsg.Config{Guard: guard})
	k, _ := c.Key(oncekafka.Message(record("orders", 0, ids[inFlight]), [16]byte{}))
	other, err := guard.Begin(t.Context(), k, once.Fingerprint{})
	if err != nil {
		t.Fatal(err)
	}
	var e effects
	var panicked atomic.Bool
	start(t, oncekafka.Run, oncekafka.Config{
		Options:  b.options("orders"),
		Consumer: c,
		Batch:    oncekafka.DefaultBatch, // several at once, although the policy is Hold
		BatchHandler: func(_ context.Context, items []oncemsg.Item) []error {
			if string(items[0].Payload) == ids[3] {
				panicked.Store(true)
				panic("no")
			}
			for _, it := range items {
				e.add(it.Message)
			}
			return nil
		},
	})
	eventually(t, "the handler has panicked", panicked.Load)
	b.wantCommitted("orders", 0, inFlight)
	if err := other.Release(); err != nil {
		t.Fatal(err)
	}
	b.wantCommitted("orders", 0, int64(len(ids)))
	e.want(t, append(append([]string{}, ids[:3]...), ids[inFlight], ids[held]))
}
