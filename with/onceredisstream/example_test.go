package onceredisstream_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceredisstream"
)

// Without output, since it needs a server.
func Example() {
	ctx := context.Background()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:6379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	store, err := oncedisk.Open(oncedisk.Config{Dir: "/var/lib/billing/once"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun, Retention: 7 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard:      guard,
		Subscriber: "billing",
		Publish:    onceredisstream.Publish(client),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := onceredisstream.CreateGroup(ctx, client, "orders", "billing", "0"); err != nil {
		log.Fatal(err)
	}
	log.Fatal(onceredisstream.Run(ctx, onceredisstream.Config{
		Client:           client,
		Stream:           "orders",
		Group:            "billing",
		Consumer:         consumer,
		DeadLetterStream: "orders.dead",
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			fmt.Printf("charge for %s\n", m.Payload)
			return oncemsg.Emit(ctx, oncemsg.Output{To: "receipts", Payload: m.Payload})
		},
	}))
}
