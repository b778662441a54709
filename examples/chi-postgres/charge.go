package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once/store/oncepg"
)

// A row is a charge.
type row struct {
	Number   int64  `json:"number"`
	Customer string `json:"customer"`
	Amount   int64  `json:"amount"` // in cents
}

// charge books in the transaction that the record of the response is made in. A handler that fails,
// panics or dies takes both back.
func charge(pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tx, ok := oncepg.Tx(r.Context())
		if !ok {
			http.Error(w, "this route is not guarded", http.StatusInternalServerError)
			return
		}
		var order struct{ Amount int64 }
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil || order.Amount <= 0 {
			http.Error(w, "amount must be a positive number of cents", http.StatusBadRequest)
			return
		}
		customer, _, _ := r.BasicAuth()
		c := row{Customer: customer, Amount: order.Amount}
		err := tx.QueryRow(r.Context(), "INSERT INTO charges (customer, amount) VALUES ($1, $2) RETURNING number",
			c.Customer, c.Amount).Scan(&c.Number)
		if err != nil {
			slog.Error("charge", "error", err)
			http.Error(w, "the card was not charged", http.StatusInternalServerError)
			return
		}
		if pause > 0 {
			slog.Info("charged, and not yet committed", "pause", pause)
			time.Sleep(pause)
		}
		reply(w, http.StatusCreated, c)
	}
}

func list(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		customer, _, _ := r.BasicAuth()
		// Query's error is that of CollectRows too.
		found, _ := pool.Query(r.Context(),
			"SELECT number, customer, amount FROM charges WHERE customer = $1 ORDER BY number", customer)
		rows, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
		if err != nil {
			slog.Error("list", "error", err)
			http.Error(w, "charges cannot be read", http.StatusInternalServerError)
			return
		}
		reply(w, http.StatusOK, rows)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
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
