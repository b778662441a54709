// Command grpc runs a gRPC server and a client in one process. The connection breaks when the card
// has been charged and before the client is told; the client tries again, and is given the receipt
// of the one charge.
//
//	go run ./examples/grpc
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/oncehq/once/examples/grpc/paymentspb"
	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/with/oncegrpc"
)

func main() {
	order := flag.String("order", "order-42", "what is paid for: the key of the operation")
	amount := flag.Int64("amount", 1250, "in cents")
	data := flag.String("data", "grpc-data", "the folder for the server's records and ledger")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *data, *order, *amount); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const try = `
Try the same again: it finds the receipt. Another amount for this order is refused, and another
order is another charge:

  go run ./examples/grpc
  go run ./examples/grpc --amount 9900
  go run ./examples/grpc --order order-43
`

func run(ctx context.Context, out io.Writer, data, order string, amount int64) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(data, "records")})
	if err != nil {
		return err
	}
	defer store.Close()
	book, err := ledger.Open(filepath.Join(data, "charges.jsonl"))
	if err != nil {
		return err
	}
	defer book.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	lossy := &network{Listener: l}
	server, err := newServer(store, book, lossy.loseFirstReply)
	if err != nil {
		return err
	}
	go server.Serve(lossy) // until it is stopped
	defer server.GracefulStop()
	if err := buy(ctx, out, l.Addr().String(), order, amount); err != nil {
		return err
	}
	_, err = io.WriteString(out, try)
	return err
}

// buy is the client: it charges a card, whatever the network does.
func buy(ctx context.Context, out io.Writer, addr, order string, amount int64) error {
	client, err := oncegrpc.NewClient(oncegrpc.ClientConfig{
		Observe: func(_ context.Context, method string, try oncegrpc.Try) {
			fmt.Fprintf(out, "%s, try %d: %s\n", method, try.Number, status.Code(try.Err))
		},
	})
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // over loopback; else TLS
		grpc.WithChainUnaryInterceptor(client.Unary))
	if err != nil {
		return err
	}
	defer conn.Close()
	payments := paymentspb.NewPaymentsClient(conn)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer a1"), time.Minute)
	defer cancel()
	// Without a key of the caller's each call gets its own, for all of its tries.
	var header metadata.MD
	receipt, err := payments.Charge(oncegrpc.WithKey(ctx, order),
		&paymentspb.ChargeRequest{Amount: amount}, grpc.Header(&header))
	if err != nil {
		fmt.Fprintf(out, "%s was not charged for: %s\n", order, status.Convert(err).Message())
	} else {
		fmt.Fprintf(out, "%s: receipt %d, %d cents, replayed: %v\n",
			order, receipt.Number, receipt.Amount, oncegrpc.Replayed(header))
	}
	list, err := payments.List(ctx, new(paymentspb.ListRequest))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "charges in the ledger: %d\n", len(list.Receipts))
	return nil
}
