package onceredis_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/onceredis"
)

func Example() {
	ctx := context.Background()
	store, err := onceredis.Open(ctx, onceredis.Config{DSN: "redis://localhost:6379?prefix=shop"})
	if err != nil {
		log.Fatal(err) // also if the server is not fit to keep records
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun, Wait: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	key := once.Key{Scope: "acme/charge", ID: "order-1042"}
	receipt, err := once.Do(ctx, guard, key, once.Fingerprint{}, func(ctx context.Context) (string, error) {
		return charge(ctx, once.DerivedID(ctx, "charge"))
	})
	fmt.Println(receipt, err)
}

func charge(_ context.Context, id string) (string, error) { return "receipt of " + id, nil }

// The guarantees depend on the servers' settings.
func ExampleStore_Doctor() {
	ctx := context.Background()
	store, err := onceredis.Open(ctx, onceredis.Config{
		DSN:         "rediss+sentinel://app:secret@10.0.0.1,10.0.0.2,10.0.0.3/main",
		MinReplicas: 1,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Printf("%+v\n", store.Guarantees())
	findings, err := store.Doctor(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, finding := range findings {
		fmt.Println(finding)
	}
}
