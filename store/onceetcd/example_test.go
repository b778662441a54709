package onceetcd_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/onceetcd"
)

func Example() {
	ctx := context.Background()
	store, err := onceetcd.Open(ctx, onceetcd.Config{DSN: "etcd://10.0.0.1,10.0.0.2,10.0.0.3/shop"})
	if err != nil {
		log.Fatal(err) // also if the cluster is not fit to keep records
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold, Wait: 5 * time.Second})
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

// The name of the servers can be shown to people: it leaves the password out.
func ExampleParseDSN() {
	target, err := onceetcd.ParseDSN("etcds://app:s3cret@etcd-0,etcd-1,etcd-2:4379/shop?tls_ca=/etc/once/ca.pem")
	fmt.Println(target, err)
	// Output: etcds://app@etcd-0:2379,etcd-1:2379,etcd-2:4379/shop <nil>
}
