package oncemsg_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

// A broker's verbs, as an adapter hands them over: here they only say what the broker was told.
func ExampleConsumer_Consume() {
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard:      guard(),
		Subscriber: "billing",
		Backoff:    func(int) time.Duration { return 2 * time.Second },
	})
	if err != nil {
		log.Fatal(err)
	}
	m := oncemsg.Message{
		ID:    "order-7",
		Lease: 30 * time.Second, // the broker delivers again after that, unless it is extended
		Verbs: oncemsg.Verbs{
			Ack:    func(context.Context) error { fmt.Println("ack"); return nil },
			Nak:    func(_ context.Context, after time.Duration) error { fmt.Println("again in", after); return nil },
			Delays: true,
			Extend: func(context.Context) error { return nil },
		},
	}
	down := true
	bill := func(context.Context, oncemsg.Message) error {
		if down {
			return errors.New("database is down")
		}
		return nil
	}
	for range 3 {
		d, err := consumer.Consume(context.Background(), m, bill)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Kind)
		down = false
	}
	// Output:
	// again in 2s
	// failed
	// ack
	// ran
	// ack
	// duplicate
}

// One call for many messages: one round trip for their claims, one statement for their effects.
// Each has a decision of its own.
func ExampleConsumer_HandleBatch() {
	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard(), Subscriber: "search index"})
	if err != nil {
		log.Fatal(err)
	}
	index := func(_ context.Context, items []oncemsg.Item) []error {
		errs := make([]error, len(items))
		var ids []string
		for i, item := range items {
			if len(item.Payload) == 0 {
				errs[i] = once.Final(errors.New("nothing to index"))
				continue
			}
			ids = append(ids, item.ID)
		}
		fmt.Println("INSERT", strings.Join(ids, ", "))
		return errs
	}
	text := []byte("text")
	batch := []oncemsg.Message{
		{ID: "a", Payload: text}, {ID: "b", Payload: text}, {ID: "a", Payload: text}, {ID: "c"},
	}
	for i, d := range consumer.HandleBatch(context.Background(), batch, index) {
		fmt.Println(batch[i].ID, d.Kind, "→", d.Verb)
	}
	// Output:
	// INSERT a, b
	// a ran → ack
	// b ran → ack
	// a duplicate → ack
	// c rejected → dead-letter
}

// A message that has used up its attempts is set aside. When its cause is mended it is forgotten and
// moved back: it runs under the same derived ids, so that a provider that has seen one of its
// attempts knows the next one.
func ExampleConsumer_Forget() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun, MaxAttempts: 2})
	if err != nil {
		log.Fatal(err)
	}
	var aside []oncemsg.Message
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard:      guard,
		Subscriber: "billing",
		DeadLetter: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) error {
			fmt.Println("set aside:", d.Kind, d.Err)
			aside = append(aside, m)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	broken := true
	bill := func(ctx context.Context, _ oncemsg.Message) error {
		fmt.Println("charging under", once.DerivedID(ctx, "charge")[:8])
		if broken {
			return errors.New("unknown currency")
		}
		return nil
	}
	for range 2 {
		consumer.Handle(ctx, oncemsg.Message{ID: "order-7"}, bill)
	}
	broken = false
	if err := consumer.Forget(ctx, aside[0]); err != nil {
		log.Fatal(err)
	}
	fmt.Println(consumer.Handle(ctx, aside[0], bill).Kind)
	// Output:
	// charging under 0afc1c7c
	// charging under 0afc1c7c
	// set aside: poisoned unknown currency
	// charging under 0afc1c7c
	// ran
}
