package oncemsg_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

func guard() *once.Guard {
	g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	return g
}

// An adapter hands each delivery over and tells its broker what was decided.
func Example() {
	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard(), Subscriber: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	bill := func(_ context.Context, m oncemsg.Message) error {
		fmt.Printf("billing %s\n", m.Payload)
		return nil
	}
	delivery := oncemsg.Message{Source: "orders", ID: "order-7", Payload: []byte("7 euros")}
	for range 3 { // the broker delivers at least once
		d := consumer.Handle(context.Background(), delivery, bill)
		fmt.Println(d.Kind, "→", d.Verb)
	}
	// Output:
	// billing 7 euros
	// ran → ack
	// duplicate → ack
	// duplicate → ack
}

// What a handler emits is published when it is recorded, and again, with the same id, when a copy
// of the message comes.
func ExampleEmit() {
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard:      guard(),
		Subscriber: "shipping",
		Publish: func(_ context.Context, outputs []oncemsg.Output) error {
			for _, o := range outputs {
				fmt.Printf("to %s: %s %s\n", o.To, o.Payload, o.ID)
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ship := func(ctx context.Context, m oncemsg.Message) error {
		fmt.Println("packing", m.ID)
		return oncemsg.Emit(ctx, oncemsg.Output{To: "shipped", Payload: []byte(m.ID)})
	}
	m := oncemsg.Message{ID: "order-7"}
	fmt.Println(consumer.Handle(context.Background(), m, ship).Kind)
	fmt.Println(consumer.Handle(context.Background(), m, ship).Kind)
	// Output:
	// packing order-7
	// to shipped: order-7 7d82b5c0-43e6-8f47-8832-159f3a2c097d
	// ran
	// to shipped: order-7 7d82b5c0-43e6-8f47-8832-159f3a2c097d
	// duplicate
}

// Anything that is a function of a context and a message can be wrapped: here the tasks of a
// queue that knows how to try again later, and how not to.
func ExampleWrap() {
	type Task struct {
		ID      string
		Payload []byte
	}
	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard(), Subscriber: "mailer"})
	if err != nil {
		log.Fatal(err)
	}
	describe := func(t *Task) oncemsg.Message { return oncemsg.Message{ID: t.ID, Payload: t.Payload} }
	handler := oncemsg.Wrap(consumer, describe, func(_ context.Context, t *Task) error {
		if len(t.Payload) == 0 {
			return once.Final(errors.New("mail has no text"))
		}
		fmt.Printf("mailing %s\n", t.Payload)
		return nil
	})
	perform := func(t *Task) { // as the queue does
		err := handler(context.Background(), t)
		switch d, refused := oncemsg.DecisionOf(err); {
		case !refused:
			fmt.Println("done")
		case d.Verb == oncemsg.Retry:
			fmt.Println("again in", d.After.Round(time.Second))
		default:
			fmt.Println("archived:", err)
		}
	}
	perform(&Task{ID: "a", Payload: []byte("hello")})
	perform(&Task{ID: "a", Payload: []byte("hello")})
	perform(&Task{ID: "b"})
	// Output:
	// mailing hello
	// done
	// done
	// archived: oncemsg: rejected: mail has no text
}
