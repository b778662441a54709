// Command nethttp-redis is a service on net/http that charges a card once for each key. Its
// records are in Redis, so that any number of instances may run.
//
//	go run ./examples/nethttp-redis --store redis://127.0.0.1:6379
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/store/onceredis"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "where clients connect")
	store := flag.String("store", cmp.Or(os.Getenv("ONCE_STORE"), "redis://127.0.0.1:6379"), "the Redis that keeps the records")
	book := flag.String("ledger", "charges.jsonl", "the file that charges are booked in")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *listen, *store, *book); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const noRedis = `%w

Is there a Redis? One of these starts it:

  docker run --rm -p 6379:6379 redis:8 --appendonly yes --appendfsync always
  apt-get install redis-server

Another one is named by --store redis://HOST:PORT or the environment variable ONCE_STORE`

const try = `Charges are taken on http://%[1]s. Charge a card, and then again with the same key:

  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges
  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges

The second answer is a replay, and the card was charged once:

  curl -u alice:a1 http://%[1]s/charges

Other amounts under the key are refused, and Bob's key of the same name is another one:

  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":9900}' http://%[1]s/charges
  curl -i -u bob:b1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges
`

func run(ctx context.Context, out io.Writer, listen, dsn, path string) error {
	store, err := onceredis.Open(ctx, onceredis.Config{DSN: dsn})
	if err != nil {
		return fmt.Errorf(noRedis, err)
	}
	defer store.Close()
	if event := store.Guarantees().Weakness(); event != "" {
		slog.Warn("this Redis may forget what it has acknowledged", "after", event)
	}
	guard, err := once.New(once.Config{
		Store:   store,
		InDoubt: once.Rerun, // safe, since the ledger ignores an id that it has booked
		Wait:    5 * time.Second,
	})
	if err != nil {
		return err
	}
	idempotent, err := oncehttp.New(oncehttp.Config{Guard: guard, Scope: oncehttp.ScopeBasic, Required: true})
	if err != nil {
		return err
	}
	book, err := ledger.Open(path)
	if err != nil {
		return err
	}
	defer book.Close()
	mux := http.NewServeMux()
	mux.Handle("POST /charges", idempotent.Wrap(charge(book)))
	mux.HandleFunc("GET /charges", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, book.Charges()) })
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, try, l.Addr())
	return serve(ctx, l, authenticated(mux)) // a replay is an answer: it is given to whom it belongs
}

func charge(book *ledger.Ledger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var order struct{ Amount int64 }
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil || order.Amount <= 0 {
			http.Error(w, "amount must be a positive number of cents", http.StatusBadRequest)
			return
		}
		customer, _, _ := r.BasicAuth()
		// The id is the same however often this handler is run again for the key.
		c, err := book.Charge(once.DerivedID(r.Context(), "charge"), customer, order.Amount)
		if err != nil {
			slog.Error("charge", "error", err)
			http.Error(w, "it is not known if the card was charged", http.StatusInternalServerError)
			return
		}
		reply(w, http.StatusCreated, c)
	}
}
