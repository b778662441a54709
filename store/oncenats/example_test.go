package oncenats_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

func Example() {
	ctx := context.Background()
	dsn, stop := runServer() // yours is somewhere else
	defer stop()
	if err := oncenats.Migrate(ctx, oncenats.Config{DSN: dsn}); err != nil {
		log.Fatal(err)
	}
	store, err := oncenats.Open(ctx, oncenats.Config{DSN: dsn})
	if err != nil {
		log.Fatal(err) // also if the stream is not fit to keep records
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun, Wait: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	key := once.Key{Scope: "acme/charge", ID: "order-1042"}
	for range 2 {
		receipt, err := once.Do(ctx, guard, key, once.Fingerprint{}, func(context.Context) (string, error) {
			fmt.Println("charged")
			return "receipt 7", nil
		})
		fmt.Println(receipt, err)
	}
	// Output:
	// charged
	// receipt 7 <nil>
	// receipt 7 <nil>
}

// The guarantees depend on the stream and on the servers' settings.
func ExampleStore_Doctor() {
	ctx := context.Background()
	dsn, stop := runServer()
	defer stop()
	if err := oncenats.Migrate(ctx, oncenats.Config{DSN: dsn}); err != nil {
		log.Fatal(err)
	}
	store, err := oncenats.Open(ctx, oncenats.Config{DSN: dsn})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Println("power:", store.Guarantees().Power)
	findings, err := store.Doctor(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, finding := range findings {
		fmt.Println(finding)
	}
	// Output:
	// power: lost
	// It is not known when records reach the disk; by default NATS syncs every two minutes. Set sync_interval to always in the servers' block jetstream, and Config.Monitor (monitor=) to have it looked at.
}

// runServer runs a server for the examples.
func runServer() (dsn string, stop func()) {
	dir, err := os.MkdirTemp("", "oncenats")
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		log.Fatal("the server is not ready")
	}
	return "nats://" + s.Addr().String(), func() {
		s.Shutdown()
		s.WaitForShutdown()
		os.RemoveAll(dir)
	}
}
