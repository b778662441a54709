package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/examples/internal/ledger"
	"github.com/oncehq/once/oncehttp"
)

// An event is what the provider tells.
type event struct {
	ID     string    `json:"id"` // the same in every delivery
	Type   string    `json:"type"`
	Charge string    `json:"charge"`
	Amount int64     `json:"amount"` // in cents
	SentAt time.Time `json:"sent_at"`
}

// newReceiver returns the handler of the whole service.
func newReceiver(store once.Store, book *ledger.Ledger, secret []byte, work time.Duration) (http.Handler, error) {
	guard, err := once.New(once.Config{
		Store:   store,
		InDoubt: once.Rerun, // safe, since the ledger ignores an id that it has booked
		// Longer than the provider goes on delivering.
		Retention: 7 * 24 * time.Hour,
		// Wait is zero: a duplicate of an event that is in flight is refused with 409 and
		// Retry-After, and the provider delivers it again.
	})
	if err != nil {
		return nil, err
	}
	idempotent, err := oncehttp.New(oncehttp.Config{
		Guard:           guard,
		KeyFrom:         oncehttp.FromJSON("/id"),
		Required:        true,
		FingerprintOmit: []string{"/sent_at"}, // differs from one delivery to the next
		// The signature says whose events these are. With several providers, each has its name.
		Scope: oncehttp.ScopeConstant("payments-provider"),
	})
	if err != nil {
		return nil, err
	}
	signed := signature{secret: secret, tolerance: 5 * time.Minute, now: time.Now}
	mux := http.NewServeMux()
	// The signature is outermost: nobody else can claim an id, or be given an answer.
	mux.Handle("POST /events", signed.required(idempotent.Wrap(handle(book, work))))
	mux.HandleFunc("GET /charges", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(book.Charges())
	})
	return mux, nil
}

// handle books an event. It is run once for each id.
func handle(book *ledger.Ledger, work time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			http.Error(w, "the event is not understood", http.StatusBadRequest)
			return
		}
		if work > 0 {
			slog.Info("an event takes its time", "work", work)
			time.Sleep(work)
		}
		var err error
		switch e.Type {
		case "charge.succeeded":
			_, err = book.Charge(e.Charge, "provider", e.Amount)
		case "charge.refunded":
			charges := book.Charges()
			i := slices.IndexFunc(charges, func(c ledger.Charge) bool { return c.ID == e.Charge })
			if i < 0 {
				// The charge's event has been overtaken by this one. 503 says that nothing
				// happened: the id stays free for the next delivery.
				w.Header().Set("Retry-After", "1")
				http.Error(w, "the charge is not known yet", http.StatusServiceUnavailable)
				return
			}
			_, err = book.Charge(e.Charge+"/refund", "provider", -charges[i].Amount)
		default:
			// Events of no interest are acknowledged too, or they would be delivered for days.
		}
		if err != nil {
			slog.Error("event", "error", err)
			http.Error(w, "it is not known if the event was booked", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"received":true}` + "\n"))
	}
}
