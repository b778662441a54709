package oncewatermill_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncewatermill"
)

// A router that handles each message once, and sets aside what fails again and again.
func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotent, err := oncewatermill.New(oncewatermill.Config{Guard: guard})
	if err != nil {
		log.Fatal(err)
	}
	broker := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 10}, watermill.NopLogger{})
	poison, err := middleware.PoisonQueueWithFilter(broker, "poison", oncewatermill.IsPoison)
	if err != nil {
		log.Fatal(err)
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		log.Fatal(err)
	}
	router.AddMiddleware(poison, idempotent.Middleware)
	attempts := 0
	router.AddHandler("invoices", "orders", broker, "invoices", broker,
		func(m *message.Message) ([]*message.Message, error) {
			if attempts++; attempts == 1 {
				return nil, errors.New("database is down")
			}
			fmt.Println("attempt", attempts, "at", m.UUID)
			return message.Messages{message.NewMessage(watermill.NewUUID(), []byte("invoice"))}, nil
		})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	invoices, err := broker.Subscribe(ctx, "invoices")
	if err != nil {
		log.Fatal(err)
	}
	go router.Run(ctx)
	<-router.Running()

	var ids []string
	for range 2 { // the producer sends the order twice
		if err := broker.Publish("orders", message.NewMessage("order-7", []byte("order"))); err != nil {
			log.Fatal(err)
		}
		invoice := <-invoices
		invoice.Ack()
		ids = append(ids, invoice.UUID)
	}
	fmt.Println("same invoice:", ids[0] == ids[1])
	// Output:
	// attempt 2 at order-7
	// same invoice: true
}

// A middleware for one handler, whose records it shares with consumers that do not use Watermill.
func ExampleOnce_Middleware() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotent, err := oncewatermill.New(oncewatermill.Config{
		Guard: guard,
		Consumer: oncemsg.Config{
			Subscriber:  "billing",
			Fingerprint: oncemsg.ContentFingerprint, // refuse an id that is used for something else
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := idempotent.Middleware(func(m *message.Message) ([]*message.Message, error) {
		fmt.Printf("billing %s\n", m.Payload)
		return nil, nil
	})
	for _, payload := range []string{"7 euros", "7 euros", "8 euros"} {
		_, err := handler(message.NewMessage("order-7", []byte(payload)))
		fmt.Println("error:", err)
	}
	// Output:
	// billing 7 euros
	// error: <nil>
	// error: <nil>
	// error: oncemsg: mismatch: once: key was used for a different request
}
