package onceconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"connectrpc.com/connect"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/onceconnect"
	"github.com/oncehq/once/with/onceconnect/internal/testpb"
	"github.com/oncehq/once/with/onceconnect/internal/testpb/testpbconnect"
)

// A client that calls a guarded service twice with one key, as after a reply that was lost.
func Example() {
	guard, err := once.New(once.Config{
		Store:                 new(oncemem.Store), // in production: oncedisk, onceredis, oncepg, …
		InDoubt:               once.Hold,
		DangerouslyTrustStore: true, // this one forgets with the process
	})
	if err != nil {
		panic(err)
	}
	guarded, err := onceconnect.NewServer(onceconnect.Config{
		Guard: guard,
		Scope: func(ctx context.Context, req connect.AnyRequest) (string, error) {
			return "customer-9", nil // whoever has been authenticated
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle(testpbconnect.NewPaymentsHandler(printing{}, connect.WithInterceptors(guarded)))
	server := httptest.NewServer(mux)
	defer server.Close()

	retrying, err := onceconnect.NewClient(onceconnect.ClientConfig{})
	if err != nil {
		panic(err)
	}
	client := testpbconnect.NewPaymentsClient(http.DefaultClient, server.URL, connect.WithInterceptors(retrying))
	ctx := onceconnect.WithKey(context.Background(), "order-42") // without it, each call has a key of its own
	for range 2 {
		receipt, err := client.Charge(ctx, connect.NewRequest(&testpb.ChargeRequest{Amount: 5}))
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, replayed: %t\n", receipt.Msg.Id, onceconnect.Replayed(receipt.Header()))
	}
	// Output:
	// charging the card
	// receipt 17, replayed: false
	// receipt 17, replayed: true
}

type printing struct {
	testpbconnect.UnimplementedPaymentsHandler
}

func (printing) Charge(context.Context, *connect.Request[testpb.ChargeRequest]) (*connect.Response[testpb.Receipt], error) {
	fmt.Println("charging the card")
	return connect.NewResponse(&testpb.Receipt{Id: "receipt 17"}), nil
}
