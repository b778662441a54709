package demo

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/oncehq/once/cmd/once/internal/gateway"
)

// work is how long the service takes for each half of a charge.
const work = 15 * time.Millisecond

// Service is a small payments service, as thousands are: it takes a request, charges a card, and
// answers. It knows nothing of retries. It runs until ctx is done, or somebody kills it.
func Service(ctx context.Context, listen, path string) error {
	l, err := openLedger(path)
	if err != nil {
		return err
	}
	at, err := bind(ctx, listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, r *http.Request) { charge(w, r, l) })
	mux.HandleFunc("GET /charges", func(w http.ResponseWriter, r *http.Request) {
		e, ok := l.find(r.URL.Query().Get("derived"))
		if !ok {
			respond(w, http.StatusNotFound, map[string]string{"error": "no such charge"})
			return
		}
		respond(w, http.StatusOK, receiptOf(e))
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(at); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bind waits for the port: the process before, which was killed, may have left connections there.
func bind(ctx context.Context, listen string) (net.Listener, error) {
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", listen)
		if err == nil || try == 100 || ctx.Err() != nil {
			return l, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// An order is the body of a request for a charge.
type order struct {
	Intent string `json:"intent"`
	Amount int    `json:"amount"`
}

// A receipt is the body of the response.
type receipt struct {
	Charge string `json:"charge"`
	Intent string `json:"intent"`
}

func receiptOf(e entry) receipt { return receipt{Charge: e.Charge, Intent: e.Intent} }

// charge does the deed. The process may be killed at every line of it.
func charge(w http.ResponseWriter, r *http.Request, l *ledger) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil || o.Intent == "" {
		respond(w, http.StatusBadRequest, map[string]string{"error": "send {\"intent\": …, \"amount\": …}"})
		return
	}
	e := entry{Event: begun, Intent: o.Intent, Derived: r.Header.Get(gateway.DerivedField)}
	err := l.write(e)
	time.Sleep(work) // the bank thinks about it
	if err == nil {
		e.Event, e.Charge = charged, newCharge()
		err = l.write(e) // the money is gone
	}
	time.Sleep(work) // mails, metrics, and what else comes after
	if err != nil {
		respond(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	respond(w, http.StatusCreated, receiptOf(e))
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error means that the client is gone
}
