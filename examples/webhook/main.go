// Command webhook receives the events of a provider of payments and books each of them once,
// however often it is delivered. It has a sender too.
//
//	go run ./examples/webhook
package main

import (
	"cmp"
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "send" {
		err = send(ctx, os.Stdout, os.Args[2:])
	} else {
		err = receive(ctx, os.Stdout, os.Args[1:])
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// defaultSecret is what receiver and sender share if nobody says otherwise. Yours is the
// provider's, and in no source.
func defaultSecret() string { return cmp.Or(os.Getenv("WEBHOOK_SECRET"), "whsec_example") }

const try = `Events are taken on %[1]s/events. Send one, and then again, as providers do:

  go run ./examples/webhook send --url %[1]s/events --id evt_1 --type charge.succeeded --charge ch_1
  go run ./examples/webhook send --url %[1]s/events --id evt_1 --type charge.succeeded --charge ch_1

The second is acknowledged with the first one's answer, and is not booked:

  curl %[1]s/charges

A refund that overtakes its charge is told to come back:

  go run ./examples/webhook send --url %[1]s/events --id evt_3 --type charge.refunded --charge ch_2
  go run ./examples/webhook send --url %[1]s/events --id evt_2 --type charge.succeeded --charge ch_2
  go run ./examples/webhook send --url %[1]s/events --id evt_3 --type charge.refunded --charge ch_2

A signature that is stale or forged is refused before the id is looked at, which is free after that:

  go run ./examples/webhook send --url %[1]s/events --id evt_4 --type charge.succeeded --charge ch_4 --age 10m
  go run ./examples/webhook send --url %[1]s/events --id evt_4 --type charge.succeeded --charge ch_4 --secret guessed
  go run ./examples/webhook send --url %[1]s/events --id evt_4 --type charge.succeeded --charge ch_4
`

func receive(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8090", "where the provider connects")
	secret := flags.String("secret", defaultSecret(), "what the provider signs with; or WEBHOOK_SECRET")
	data := flags.String("data", "webhook-data", "the folder for records and ledger")
	work := flags.Duration("work", 0, "how long an event takes, so that you can send it again meanwhile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(*data, 0o700); err != nil {
		return err
	}
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(*data, "records")})
	if err != nil {
		return err
	}
	defer store.Close()
	book, err := ledger.Open(filepath.Join(*data, "charges.jsonl"))
	if err != nil {
		return err
	}
	defer book.Close()
	handler, err := newReceiver(store, book, []byte(*secret), *work)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, try, "http://"+l.Addr().String())
	return serve(ctx, l, handler)
}

// serve serves until ctx is done, and then lets the requests finish that are under way.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}
