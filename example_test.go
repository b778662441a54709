package once_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// A charge whose reply was lost is asked for again, and the card is charged once.
func Example() {
	guard, err := once.New(once.Config{
		Store:                 new(oncemem.Store), // in production: oncedisk, onceredis, oncepg, …
		InDoubt:               once.Hold,
		DangerouslyTrustStore: true, // this one forgets with the process
	})
	if err != nil {
		panic(err)
	}
	charge := func(ctx context.Context) (string, error) {
		fmt.Println("charging the card")
		return "receipt 17", nil
	}
	key := once.Key{Scope: "customer-9/charge", ID: "order-42"}
	for range 3 {
		receipt, err := once.Do(context.Background(), guard, key, once.Fingerprint{}, charge)
		fmt.Println(receipt, err)
	}
	// Output:
	// charging the card
	// receipt 17 <nil>
	// receipt 17 <nil>
	// receipt 17 <nil>
}

// What the function's error says decides what the next caller gets.
func ExampleDo_errors() {
	guard, _ := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	try := func(id string, fnErr error) {
		key := once.Key{Scope: "example", ID: id}
		runs := 0
		for range 2 {
			_, err := once.Do(context.Background(), guard, key, once.Fingerprint{}, func(context.Context) (int, error) {
				runs++
				return 0, fnErr
			})
			fmt.Println(err)
		}
		fmt.Printf("ran %d times\n", runs)
	}
	try("a", once.Final(errors.New("card is blocked")))       // recorded, replayed
	try("b", once.NoEffect(errors.New("provider is closed"))) // nothing happened: run again
	try("c", errors.New("time-out"))                          // unknown: the policy is Rerun
	// Output:
	// card is blocked
	// card is blocked
	// ran 1 times
	// provider is closed
	// provider is closed
	// ran 2 times
	// time-out
	// time-out
	// ran 2 times
}

// A key that is used again for something else is refused.
func ExampleFingerprintOf() {
	guard, _ := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	pay := func(amount string) error {
		fp := once.FingerprintOf([]byte(amount))
		_, err := once.Do(context.Background(), guard, once.Key{Scope: "pay", ID: "7"}, fp,
			func(context.Context) (bool, error) { return true, nil })
		return err
	}
	fmt.Println(pay("10.00"))
	fmt.Println(pay("99.00"))
	// Output:
	// <nil>
	// once: key was used for a different request
}

// Under a rerun, steps that were done are not run again.
func ExampleStep() {
	guard, _ := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	attempt := 0
	order := func(ctx context.Context) (string, error) {
		attempt++
		room, err := once.Step(ctx, "reserve", func(context.Context) (int, error) {
			fmt.Println("reserving")
			return 12, nil
		})
		if err != nil {
			return "", err
		}
		if attempt == 1 {
			return "", errors.New("connection reset") // the attempt breaks off here
		}
		return fmt.Sprintf("room %d", room), nil
	}
	for range 2 {
		fmt.Println(once.Do(context.Background(), guard, once.Key{Scope: "order", ID: "1"}, once.Fingerprint{}, order))
	}
	// Output:
	// reserving
	//  connection reset
	// room 12 <nil>
}

// Begin is for callers that keep outcomes in a form of their own.
func ExampleGuard_Begin() {
	guard, _ := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	handle := func() string {
		a, err := guard.Begin(context.Background(), once.Key{Scope: "jobs", ID: "1"}, once.Fingerprint{})
		if err != nil {
			return err.Error()
		}
		if out, done := a.Replay(); done {
			return "replayed " + string(out.Data)
		}
		out := once.Outcome{Type: "text/plain", Data: []byte("hello")} // run it under a.Context()
		if err := a.CompleteFor(out, time.Hour); err != nil {
			return err.Error() // not recorded: nobody may see the outcome
		}
		return "ran: " + string(out.Data)
	}
	fmt.Println(handle())
	fmt.Println(handle())
	// Output:
	// ran: hello
	// replayed hello
}

func ExampleLock() {
	guard, _ := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true})
	key := once.Key{Scope: "report", ID: "2026-11"}
	err := once.Lock(context.Background(), guard, key, func(ctx context.Context, fence uint64) error {
		second := once.Lock(ctx, guard, key, func(context.Context, uint64) error { return nil })
		fmt.Println(second)
		return nil
	})
	fmt.Println(err)
	// Output:
	// once: operation is in flight
	// <nil>
}
