package oncekafka_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

func TestEverythingWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	opts := []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}
	grouped := slices.Clip(append(opts, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders")))
	consumer := newConsumer(t, oncemsg.Config{})
	handle := func(context.Context, oncemsg.Message) error { return nil }
	batch := func(context.Context, []oncemsg.Item) []error { return nil }
	fine := oncekafka.Config{Options: grouped, Consumer: consumer, Handler: handle, DeadLetterTopic: dead}
	for _, c := range []struct {
		name   string
		change func(*oncekafka.Config)
		want   []string
	}{
		{"nothing", func(c *oncekafka.Config) { *c = oncekafka.Config{Options: opts} }, []string{
			"Consumer is missing", "Handler is missing", "there is no group",
		}},
		{"both handlers", func(c *oncekafka.Config) { c.BatchHandler = batch }, []string{"both set"}},
		{"no dead letters", func(c *oncekafka.Config) { c.DeadLetterTopic = "" }, []string{"DeadLetterTopic is missing"}},
		{"negative", func(c *oncekafka.Config) { c.Batch, c.Buffer = -1, -1 }, []string{"Batch is negative", "Buffer is negative"}},
		{"callback", func(c *oncekafka.Config) {
			c.Options = append(grouped, kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) {}))
		}, []string{"callback of partitions"}},
		{"own commits", func(c *oncekafka.Config) { c.Options = append(grouped, kgo.DisableAutoCommit()) }, []string{"a way to commit"}},
		{"transaction", func(c *oncekafka.Config) { c.Options = append(grouped, kgo.TransactionalID("a")) }, []string{"use RunInTransactions"}},
		{"drain", func(c *oncekafka.Config) { c.Drain = time.Minute }, []string{"rebalance timeout"}},
		{"no brokers", func(c *oncekafka.Config) { c.Options = append(grouped, kgo.SeedBrokers()) }, []string{"config: Options"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := fine
			c.change(&cfg)
			err := oncekafka.Run(t.Context(), cfg)
			if err == nil {
				t.Fatal("there is no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	err := oncekafka.RunInTransactions(t.Context(), fine)
	if err == nil || !strings.Contains(err.Error(), "there is no transactional id") {
		t.Errorf("without a transactional id: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := oncekafka.Run(ctx, fine); err != nil {
		t.Errorf("with nothing wrong: %v", err)
	}
	fine.Options = append(grouped, kgo.TransactionalID("a"))
	if err := oncekafka.RunInTransactions(ctx, fine); err != nil {
		t.Errorf("with nothing wrong, in transactions: %v", err)
	}
}

func TestWindowShorterThanTheTopicsRetentionIsWarnedOf(t *testing.T) {
	t.Parallel()
	const warning = "longer than they are remembered"
	for _, c := range []struct {
		name    string
		configs map[string]string
		window  time.Duration
		warns   bool
	}{
		{"shorter", map[string]string{"retention.ms": "7200000"}, time.Hour, true},
		{"longer", map[string]string{"retention.ms": "7200000"}, 3 * time.Hour, false},
		{"no limit", map[string]string{"retention.ms": "-1"}, 24 * 365 * time.Hour, true},
		{"compacted", map[string]string{"retention.ms": "7200000", "cleanup.policy": "compact"}, 3 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, 1)
			if err := b.CreateTopic("orders", 1, c.configs); err != nil {
				t.Fatal(err)
			}
			b.topics[b.TopicInfo("orders").TopicID] = "orders"
			b.fill("orders", 1, 1)
			asked := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Observe: true, Count: -1})
			var l log
			var e effects
			stop := start(t, oncekafka.Run, oncekafka.Config{
				Options: b.options("orders"), Handler: e.handle,
				Consumer: newConsumer(t, oncemsg.Config{Window: c.window, Logger: slog.New(slog.NewTextHandler(&l, nil))}),
			})
			b.wantCommitted("orders", 0, 1)
			if c.warns {
				eventually(t, "there is a warning", func() bool { return l.has(warning) })
				return
			}
			eventually(t, "the topic is looked up", func() bool { return asked.Hits() > 0 })
			time.Sleep(200 * time.Millisecond) // for the answer
			stop()
			if l.has(warning) {
				t.Errorf("there is a warning:\n%s", l.buf.String())
			}
		})
	}
}
