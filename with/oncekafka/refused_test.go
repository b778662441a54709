package oncekafka_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// What a topic will never take must not hold up the partition that it comes from.
func TestOutputsThatAreTooLargeAreDeadLettered(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct {
		run     func(context.Context, oncekafka.Config) error
		prepare func(*broker, *oncekafka.Config) func(context.Context, []oncemsg.Output) error
	}{
		"Run": {oncekafka.Run, func(b *broker, cfg *oncekafka.Config) func(context.Context, []oncemsg.Output) error {
			cfg.Options = b.options("orders")
			return oncekafka.Publish(b.client())
		}},
		"RunInTransactions": {
			oncekafka.RunInTransactions,
			func(b *broker, cfg *oncekafka.Config) func(context.Context, []oncemsg.Output) error {
				cfg.Options = b.transactional("a")
				return oncekafka.PublishInTransaction
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, 2, "orders")
			if err := b.CreateTopic("invoices", 1, map[string]string{"max.message.bytes": "2000"}); err != nil {
				t.Fatal(err)
			}
			ids := b.fill("orders", 2, 30)
			const parts = 6
			var cfg oncekafka.Config
			cfg.Handler = func(ctx context.Context, m oncemsg.Message) error {
				n, size := parts, 500 // together they are too large for one batch
				if string(m.Payload) == ids[10] {
					n, size = 2, 4000
				}
				for range n {
					payload := make([]byte, size) // that cannot be compressed
					rand.Read(payload)
					if err := oncemsg.Emit(ctx, oncemsg.Output{To: "invoices", Payload: payload}); err != nil {
						return err
					}
				}
				return nil
			}
			cfg.Consumer = newConsumer(t, oncemsg.Config{Publish: way.prepare(b, &cfg)})
			start(t, way.run, cfg)
			b.wantAllCommitted(2, 30)
			got := b.read(dead, 1)
			if string(got[0].Value) != ids[10] || header(got[0], oncekafka.HeaderDeadKind) != "unpublished" {
				t.Errorf("dead letter is %q, %q", got[0].Value, got[0].Headers)
			}
			sent := map[string]bool{}
			for _, r := range b.read("invoices", parts*(len(ids)-1)) {
				sent[header(r, oncekafka.HeaderID)] = true
			}
			if len(sent) != parts*(len(ids)-1) {
				t.Errorf("%d outputs were sent, want %d", len(sent), parts*(len(ids)-1))
			}
			if n := len(b.read(dead, 1)); n != 1 {
				t.Errorf("%d records are dead-lettered, want one", n)
			}
		})
	}
}

// A record that no topic for dead letters takes is not dropped.
func TestDeadLetterThatIsTooLargeIsNotLost(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	if err := b.CreateTopic("small", 1, map[string]string{"max.message.bytes": "200"}); err != nil {
		t.Fatal(err)
	}
	b.fill("orders", 1, 3)
	l := new(log)
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), DeadLetterTopic: "small",
		Consumer: newConsumer(t, oncemsg.Config{Logger: l.logger()}),
		Handler: func(_ context.Context, m oncemsg.Message) error {
			panic(fmt.Sprintf("%0200d", 0))
		},
	})
	eventually(t, "it is logged what to raise", func() bool { return l.has("raise max.message.bytes") })
	stop()
	if got := b.committed("orders", 0); got > 0 {
		t.Errorf("offset %d is committed, but nothing is dead-lettered", got)
	}
}
