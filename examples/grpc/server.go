package main

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/oncehq/once"
	"github.com/oncehq/once/examples/grpc/paymentspb"
	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/with/oncegrpc"
)

// newServer returns a server whose charges happen once for each key.
func newServer(store once.Store, book *ledger.Ledger, network grpc.UnaryServerInterceptor) (*grpc.Server, error) {
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold})
	if err != nil {
		return nil, err
	}
	guarded, err := oncegrpc.NewServer(oncegrpc.Config{Guard: guard, Scope: customer, Required: true})
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(
		// Authentication comes first: a replay is an answer, and is given to whom it belongs.
		grpc.ChainUnaryInterceptor(network, authenticate, guarded.Unary),
		grpc.ChainStreamInterceptor(guarded.Stream),
		grpc.WaitForHandlers(true), // so that no operation is left in doubt when the server stops
	)
	paymentspb.RegisterPaymentsServer(server, payments{book: book})
	return server, nil
}

type payments struct {
	paymentspb.UnimplementedPaymentsServer
	book *ledger.Ledger
}

func (p payments) Charge(ctx context.Context, req *paymentspb.ChargeRequest) (*paymentspb.Receipt, error) {
	if req.Amount <= 0 {
		return nil, status.Error(codes.InvalidArgument, "amount must be a positive number of cents")
	}
	name, err := customer(ctx)
	if err != nil {
		return nil, err
	}
	// The id is the same in every attempt at the operation.
	c, err := p.book.Charge(once.DerivedID(ctx, "charge"), name, req.Amount)
	if err != nil {
		slog.Error("charge", "error", err)
		return nil, status.Error(codes.Unknown, "it is not known if the card was charged")
	}
	return receipt(c), nil
}

func (p payments) List(ctx context.Context, _ *paymentspb.ListRequest) (*paymentspb.ListResponse, error) {
	name, err := customer(ctx)
	if err != nil {
		return nil, err
	}
	list := new(paymentspb.ListResponse)
	for _, c := range p.book.Charges() {
		if c.Customer == name {
			list.Receipts = append(list.Receipts, receipt(c))
		}
	}
	return list, nil
}

func receipt(c ledger.Charge) *paymentspb.Receipt {
	return &paymentspb.Receipt{Number: int64(c.Number), Customer: c.Customer, Amount: c.Amount}
}

type customerKey struct{}

// authenticate finds out whose call it is.
func authenticate(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	customers := map[string]string{"Bearer a1": "alice", "Bearer b1": "bob"} // yours are elsewhere
	for _, token := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		if name, ok := customers[token]; ok {
			return handle(context.WithValue(ctx, customerKey{}, name), req)
		}
	}
	return nil, status.Error(codes.Unauthenticated, "who are you?")
}

// customer returns who has been authenticated.
func customer(ctx context.Context) (string, error) {
	if name, ok := ctx.Value(customerKey{}).(string); ok {
		return name, nil
	}
	return "", status.Error(codes.Unauthenticated, "nobody has been authenticated")
}
