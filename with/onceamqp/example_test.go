package onceamqp_test

import (
	"context"
	"fmt"
	stdlog "log"
	"os"
	"os/signal"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceamqp"
)

// Orders are billed once, and each receipt is put into the queue "receipts" before its order is
// acknowledged. It needs a broker with the queues "orders", "orders.dead" and "receipts".
func ExampleRun() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dial := func() (*amqp091.Connection, error) { return amqp091.Dial("amqp://guest:guest@localhost:5672/") }
	publisher, err := onceamqp.NewPublisher(onceamqp.PublisherConfig{Dial: dial})
	if err != nil {
		stdlog.Fatal(err)
	}
	defer publisher.Close()
	// In a real service the store outlives the process: oncedisk, onceredis, oncepg.
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		stdlog.Fatal(err)
	}
	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing", Publish: publisher.Publish})
	if err != nil {
		stdlog.Fatal(err)
	}
	err = onceamqp.Run(ctx, onceamqp.Config{
		Dial:          dial,
		Queue:         "orders",
		Consumer:      consumer,
		DeadLetterKey: "orders.dead",
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			fmt.Println("billed", m.ID)
			return oncemsg.Emit(ctx, oncemsg.Output{To: "receipts", Payload: []byte("receipt for " + m.ID)})
		},
	})
	if err != nil {
		stdlog.Fatal(err)
	}
}
