// Command flaky-client charges cards through a network that loses requests and answers, and with
// a client that is killed. Each card is charged once.
//
//	go run ./examples/flaky-client
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/oncedisk"
)

// payCommand is what the program is told by itself: to be the client that is killed.
const payCommand = "pay"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == payCommand {
		err = pay(ctx, os.Stdout, os.Args[2:])
	} else {
		charges := flag.Int("charges", 50, "how many cards are charged at random")
		loss := flag.Float64("loss", 0.4, "how many of their requests go wrong, from 0 to 0.9")
		seed := flag.Uint64("seed", 1, "of the random faults")
		flag.Parse()
		err = run(ctx, os.Stdout, *charges, min(*loss, 0.9), *seed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const try = `
Try a worse network:

  go run ./examples/flaky-client --charges 100 --loss 0.7 --seed 2
`

func run(ctx context.Context, out io.Writer, charges int, loss float64, seed uint64) (err error) {
	dir, err := os.MkdirTemp("", "flaky-client-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(dir, "service")})
	if err != nil {
		return err
	}
	defer store.Close()
	book, err := ledger.Open(filepath.Join(dir, "charges.jsonl"))
	if err != nil {
		return err
	}
	defer book.Close()
	charging, err := newService(store, book)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	wire := &network{service: charging, held: make(chan struct{})}
	server := &http.Server{Handler: wire, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(l) // until it is shut down
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, server.Shutdown(grace))
	}()
	url := "http://" + l.Addr().String() + "/charges"

	fmt.Fprintln(out, "One charge: the service is busy, the request is delayed, the answer is lost.")
	wire.script(busy, late, lost)
	if err := chargeOne(ctx, out, url); err != nil {
		return err
	}
	fmt.Fprintf(out, "  charges in the ledger: %d\n\n", len(book.Charges()))

	fmt.Fprintf(out, "%d charges: of 100 requests %.0f go wrong.\n", charges, 100*loss)
	wire.random(loss, seed)
	if err := chargeMany(ctx, out, url, charges); err != nil {
		return err
	}
	fmt.Fprintf(out, "  charges in the ledger: %d\n\n", len(book.Charges()))

	fmt.Fprintln(out, "One charge: the client is killed before it has the answer (kill -9).")
	wire.script(hold)
	if err := payAndBeKilled(ctx, out, url, filepath.Join(dir, "journal"), wire.held); err != nil {
		return err
	}
	fmt.Fprintf(out, "  charges in the ledger: %d\n", len(book.Charges()))
	_, err = io.WriteString(out, try)
	return err
}
