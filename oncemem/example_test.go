package oncemem_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := once.Key{Scope: "orders", ID: "4711"}
	for range 3 {
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
	// receipt 1 <nil>
}

// At its bounds a store refuses new claims. It forgets nothing to make room for them.
func ExampleStore_bounds() {
	store := &oncemem.Store{MaxRecords: 1}
	for _, id := range []string{"first", "second", "first"} {
		claim := once.Claim{
			Key:   once.Key{Scope: "orders", ID: id},
			Owner: once.Owner{1},
			Lease: time.Minute,
		}
		record, err := store.Claim(context.Background(), claim)
		fmt.Println(id, record.Won(claim), errors.Is(err, once.ErrFull))
	}
	// Output:
	// first true false
	// second false true
	// first true false
}
