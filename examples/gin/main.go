// Command gin is a service on gin that charges a card once for each key. Its records are in a
// folder on disk, so that it needs no server.
//
//	go run ./examples/gin
package main

import (
	"context"
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

	"github.com/gin-gonic/gin"

	"github.com/oncehq/once"
	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/with/oncegin"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "where clients connect")
	data := flag.String("data", "gin-data", "the folder for records and ledger")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *listen, *data); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const try = `Charges are taken on http://%[1]s. Charge a card, and then again with the same key:

  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges
  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges

The second answer is a replay, and the card was charged once:

  curl -u alice:a1 http://%[1]s/charges

A request that is wrong is answered the same again, and one without a key is refused:

  curl -i -u alice:a1 -H 'Idempotency-Key: "order-43"' -d '{"amount":-1}' http://%[1]s/charges
  curl -i -u alice:a1 -d '{"amount":1250}' http://%[1]s/charges
`

func run(ctx context.Context, out io.Writer, listen, data string) error {
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
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold, Wait: 5 * time.Second})
	if err != nil {
		return err
	}
	guarded, err := oncegin.New(oncehttp.Config{
		Guard:    guard,
		Required: true,
		Scope:    oncegin.Scope(func(c *gin.Context) (string, error) { return c.GetString(gin.AuthUserKey), nil }),
	})
	if err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	// Authentication comes first: a replay is an answer, and is given to whom it belongs.
	router.Use(gin.Recovery(), gin.BasicAuth(gin.Accounts{"alice": "a1", "bob": "b1"}))
	router.POST("/charges", guarded, charge(book))
	router.GET("/charges", func(c *gin.Context) { c.JSON(http.StatusOK, book.Charges()) })
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, try, l.Addr())
	return serve(ctx, l, router)
}

func charge(book *ledger.Ledger) gin.HandlerFunc {
	return func(c *gin.Context) {
		var order struct {
			Amount int64 `json:"amount" binding:"gt=0"` // in cents
		}
		if err := c.ShouldBindJSON(&order); err != nil {
			c.JSON(http.StatusBadRequest, gin.H{"error": "amount must be a positive number of cents"})
			return
		}
		// The id is the same in every attempt at the operation.
		id := once.DerivedID(c.Request.Context(), "charge")
		booked, err := book.Charge(id, c.GetString(gin.AuthUserKey), order.Amount)
		if err != nil {
			c.Error(err)
			c.JSON(http.StatusInternalServerError, gin.H{"error": "it is not known if the card was charged"})
			return
		}
		c.JSON(http.StatusCreated, booked)
	}
}

// serve serves until ctx is done, and then lets the requests finish that are under way.
func serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
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
