package oncetest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

// A store whose reply to the first completion is lost: the guard repeats it, and the card is
// charged once all the same.
func ExampleFaulty() {
	lost := errors.New("connection reset")
	store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) oncetest.Fault {
		if v == oncetest.Complete && n == 1 {
			return oncetest.Fault{After: lost}
		}
		return oncetest.Fault{}
	})
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := once.Key{Scope: "payments", ID: "p-1"}
	for range 2 {
		receipt, err := once.Do(context.Background(), guard, key, once.Fingerprint{},
			func(context.Context) (string, error) {
				fmt.Println("charging the card")
				return "receipt 1", nil
			})
		fmt.Println(receipt, err)
	}
	// Output:
	// charging the card
	// receipt 1 <nil>
	// receipt 1 <nil>
}

// The model tells what the contract says about a case, with a clock of one's own.
func ExampleModel() {
	ctx := context.Background()
	now := time.Unix(0, 0)
	model := &oncetest.Model{Now: func() time.Time { return now }}
	key := once.Key{Scope: "payments", ID: "p-1"}
	first := once.Claim{Key: key, Owner: once.Owner{1}, Lease: time.Minute}
	model.Claim(ctx, first)

	now = now.Add(time.Hour)
	rec, _ := model.Load(ctx, key)
	fmt.Println(rec.State)

	second := once.Claim{Key: key, Owner: once.Owner{2}, Lease: time.Minute, Takeover: 2}
	rec, _ = model.Claim(ctx, second)
	fmt.Println(rec.State, rec.Attempt)

	fmt.Println(model.Complete(ctx, key, first.Owner, once.Outcome{}, once.Forever))
	// Output:
	// in-doubt
	// in-flight 2
	// once: ownership of the operation is lost
}
