package main

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/oncehttp"
)

// newService returns a service that charges a card once for each key.
func newService(store once.Store, book *ledger.Ledger) (http.Handler, error) {
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold, Wait: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	idempotent, err := oncehttp.New(oncehttp.Config{
		Guard:    guard,
		Required: true,
		Scope:    func(*http.Request) (string, error) { return "alice", nil }, // whoever has been authenticated
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /charges", idempotent.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var order struct{ Amount int64 }
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil || order.Amount <= 0 {
			http.Error(w, "amount must be a positive number of cents", http.StatusBadRequest)
			return
		}
		// An id that is new each time, so that the ledger shows how often this handler has run. A
		// provider of payments is better sent once.DerivedID, and ignores what it has seen before.
		c, err := book.Charge(rand.Text(), "alice", order.Amount)
		if err != nil {
			slog.Error("charge", "error", err)
			http.Error(w, "it is not known if the card was charged", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(c)
	})))
	return mux, nil
}
