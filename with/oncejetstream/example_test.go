package oncejetstream_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncejetstream"
)

// A producer that did not hear of its success sends an order again, after the server has forgotten
// the first. It is billed once.
func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	js, shutdown := runServer() // yours is somewhere else
	defer shutdown()
	// Nothing is made by Run.
	for _, s := range []jetstream.StreamConfig{
		{Name: "ORDERS", Subjects: []string{"orders"}, Duplicates: 100 * time.Millisecond},
		{Name: "DEAD", Subjects: []string{"dead.orders"}},
	} {
		if _, err := js.CreateStream(ctx, s); err != nil {
			panic(err)
		}
	}
	_, err := js.CreateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{
		Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: -1,
	})
	if err != nil {
		panic(err)
	}

	// In a real service the store outlives the process: oncedisk, onceredis, oncepg.
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		panic(err)
	}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard: guard, Subscriber: "billing",
		Window: once.Forever, // this stream keeps messages for ever
	})
	if err != nil {
		panic(err)
	}
	for _, id := range []string{"order-1", "order-1", "order-2", "stop"} {
		m := &nats.Msg{Subject: "orders", Header: nats.Header{jetstream.MsgIDHeader: {id}}}
		if _, err := js.PublishMsg(ctx, m); err != nil {
			panic(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	err = oncejetstream.Run(ctx, oncejetstream.Config{
		JetStream: js, Stream: "ORDERS", Durable: "billing",
		Consumer: consumer,
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if m.ID == "stop" {
				stop()
				return nil
			}
			fmt.Println("billed", m.ID)
			return nil
		},
		Concurrency:       1,
		DeadLetterSubject: "dead.orders",
	})
	fmt.Println("stopped:", err)
	// Output:
	// billed order-1
	// billed order-2
	// stopped: <nil>
}

// runServer runs a server for the example.
func runServer() (js jetstream.JetStream, shutdown func()) {
	dir, err := os.MkdirTemp("", "oncejetstream")
	if err != nil {
		panic(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		panic("the server is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		panic(err)
	}
	if js, err = jetstream.New(nc); err != nil {
		panic(err)
	}
	return js, func() {
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
		os.RemoveAll(dir)
	}
}
