package oncecloudevents_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	cloudevents "github.com/cloudevents/sdk-go/v2"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncecloudevents"
)

// A receiver over HTTP that bills each order once. The sender sends again, for it never heard of
// the first answer, and is given the same one.
func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	receiver, err := oncecloudevents.New(oncecloudevents.Config{
		Guard:    guard,
		Consumer: oncemsg.Config{Subscriber: "billing"},
	})
	if err != nil {
		log.Fatal(err)
	}
	bill := func(_ context.Context, order cloudevents.Event) (*cloudevents.Event, error) {
		fmt.Println("billing", order.ID())
		bill := cloudevents.NewEvent()
		bill.SetSource("/billing")
		bill.SetType("order.billed")
		return &bill, bill.SetData("text/plain", []byte("7 euros"))
	}

	ctx := context.Background()
	server := httptest.NewServer(receiver.HTTPHandler(bill))
	defer server.Close()

	sender, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(server.URL))
	if err != nil {
		log.Fatal(err)
	}
	order := cloudevents.NewEvent()
	order.SetSource("/shop")
	order.SetID("order-7")
	order.SetType("order.placed")
	var ids []string
	for range 2 {
		reply, result := sender.Request(ctx, order)
		if !cloudevents.IsACK(result) {
			log.Fatal(result)
		}
		fmt.Printf("%s: %s\n", reply.Type(), reply.Data())
		ids = append(ids, reply.ID())
	}
	fmt.Println("same event:", ids[0] == ids[1])
	// Output:
	// billing order-7
	// order.billed: 7 euros
	// order.billed: 7 euros
	// same event: true
}
