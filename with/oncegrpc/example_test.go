package oncegrpc_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncegrpc"
	"github.com/oncehq/once/with/oncegrpc/internal/testpb"
)

// A client that calls a guarded server twice with one key, as after a reply that was lost.
func Example() {
	guard, err := once.New(once.Config{
		Store:                 new(oncemem.Store), // in production: oncedisk, onceredis, oncepg, …
		InDoubt:               once.Hold,
		DangerouslyTrustStore: true, // this one forgets with the process
	})
	if err != nil {
		panic(err)
	}
	guarded, err := oncegrpc.NewServer(oncegrpc.Config{
		Guard: guard,
		Scope: func(ctx context.Context) (string, error) {
			return "customer-9", nil // whoever has been authenticated
		},
	})
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(guarded.Unary),
		grpc.ChainStreamInterceptor(guarded.Stream),
		grpc.WaitForHandlers(true),
	)
	testpb.RegisterPaymentsServer(server, printing{})
	listener := bufconn.Listen(1 << 16)
	go server.Serve(listener)
	defer server.Stop()

	client, err := oncegrpc.NewClient(oncegrpc.ClientConfig{})
	if err != nil {
		panic(err)
	}
	conn, err := grpc.NewClient("passthrough:example",
		grpc.WithChainUnaryInterceptor(client.Unary),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	ctx := oncegrpc.WithKey(context.Background(), "order-42") // without it, each call has a key of its own
	for range 2 {
		var header metadata.MD
		receipt, err := testpb.NewPaymentsClient(conn).Charge(ctx, &testpb.ChargeRequest{Amount: 5}, grpc.Header(&header))
		if err != nil {
			panic(err)
		}
		fmt.Println(receipt.Id, oncegrpc.Replayed(header))
	}
	// Output:
	// charging the card
	// receipt 17 false
	// receipt 17 true
}

type printing struct {
	testpb.UnimplementedPaymentsServer
}

func (printing) Charge(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
	fmt.Println("charging the card")
	return &testpb.Receipt{Id: "receipt 17"}, nil
}
