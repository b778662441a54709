package oncedisk_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
)

// An operation that was done before the process ended is not done again after it.
func Example() {
	parent, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "once")

	for range 2 { // the second time is after a restart
		store, err := oncedisk.Open(oncedisk.Config{Dir: dir})
		if err != nil {
			log.Fatal(err)
		}
		guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold, Retention: 24 * time.Hour})
		if err != nil {
			log.Fatal(err)
		}
		key := once.Key{Scope: "acme/payments", ID: "order-1734"}
		receipt, err := once.Do(context.Background(), guard, key, once.Fingerprint{},
			func(context.Context) (string, error) {
				fmt.Println("charging the card")
				return "receipt 99", nil
			})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(receipt)
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// charging the card
	// receipt 99
	// receipt 99
}

// A stream with too many messages for a record of each: only the ids are kept.
func ExampleOpenIDs() {
	dir, err := os.MkdirTemp("", "once-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	seen, err := oncedisk.OpenIDs(oncedisk.IDsConfig{
		Dir:    filepath.Join(dir, "ids"),
		Window: 7 * 24 * time.Hour, // for as long as copies can come
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer seen.Close()

	batch := []string{"evt-1", "evt-2", "evt-1"}
	for range 2 {
		states, err := once.DoIDs(context.Background(), seen, "billing", batch, func(_ context.Context, fresh []int) error {
			for _, i := range fresh {
				fmt.Println("bill", batch[i])
			}
			return nil
		})
		fmt.Println(states, err)
	}
	// Output:
	// bill evt-1
	// bill evt-2
	// [claimed claimed in flight] <nil>
	// [done done done] <nil>
}
