package oncekafka_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// A producer that did not hear of its success sends an order again. It is billed once.
func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	kafka, err := kfake.NewCluster(kfake.SeedTopics(1, "orders", "orders.dead"))
	if err != nil {
		panic(err)
	}
	defer kafka.Close()
	brokers := kgo.SeedBrokers(kafka.ListenAddrs()...)
	producer, err := kgo.NewClient(brokers)
	if err != nil {
		panic(err)
	}
	defer producer.Close()
	for _, id := range []string{"order-1", "order-1", "order-2", "stop"} {
		producer.Produce(ctx, &kgo.Record{
			Topic: "orders", Value: []byte(id),
			Headers: []kgo.RecordHeader{{Key: oncekafka.HeaderID, Value: []byte(id)}},
		}, nil)
	}

	// In a real service the store outlives the process: oncedisk, onceredis, oncepg.
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		panic(err)
	}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard: guard, Subscriber: "billing",
		Window: once.Forever, // a topic keeps records for a week unless it is told otherwise
	})
	if err != nil {
		panic(err)
	}
	err = oncekafka.Run(ctx, oncekafka.Config{
		Options:  []kgo.Opt{brokers, kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders")},
		Consumer: consumer,
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if m.ID == "stop" {
				stop()
				return nil
			}
			fmt.Println("billed", m.ID)
			return nil
		},
		DeadLetterTopic: "orders.dead",
	})
	fmt.Println("stopped:", err)
	// Output:
	// billed order-1
	// billed order-2
	// stopped: <nil>
}
