package oncehttp_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// post sends a request to a handler and prints what comes back.
func post(h http.Handler, path, body string, header ...string) {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	replayed := ""
	if w.Header().Get("Idempotency-Replayed") == "true" {
		replayed = " (replayed)"
	}
	if w.Header().Get("Content-Type") == "application/problem+json" {
		fmt.Println(w.Code, "problem")
		return
	}
	fmt.Printf("%d %s%s\n", w.Code, strings.TrimSpace(w.Body.String()), replayed)
}

// authenticate lets through who is logged in, and says who it is.
func authenticate(users map[string]string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		user, ok := users[token]
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		r.Header.Set("X-User", user)
		next.ServeHTTP(w, r)
	})
}

// A server that charges once for each key. The store is in memory, for the example; use oncedisk
// or a database.
func Example() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotency, err := oncehttp.New(oncehttp.Config{
		Guard: guard,
		Scope: oncehttp.ScopeHeader("X-User"), // set by authenticate
	})
	if err != nil {
		log.Fatal(err)
	}
	charges := 0
	charge := func(w http.ResponseWriter, r *http.Request) {
		charges++
		// If the provider of payments takes a key, give it one that stays the same when this
		// handler is run again after a crash.
		_ = once.DerivedID(r.Context(), "payment")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "charge %d", charges)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /charges", idempotency.Wrap(http.HandlerFunc(charge)))
	server := authenticate(map[string]string{"t1": "alice", "t2": "alice"}, mux)

	post(server, "/charges", `{"amount": 5}`, "Authorization", "Bearer t1", "Idempotency-Key", `"order-1"`)
	// The client has not heard the answer, logs in again, and repeats the request.
	post(server, "/charges", `{"amount": 5}`, "Authorization", "Bearer t2", "Idempotency-Key", `"order-1"`)
	// The key belongs to the first request.
	post(server, "/charges", `{"amount": 9}`, "Authorization", "Bearer t2", "Idempotency-Key", `"order-1"`)

	// Output:
	// 201 charge 1
	// 201 charge 1 (replayed)
	// 422 problem
}

// A webhook whose provider sends an event until it is acknowledged, and sometimes after that. The
// id of the event is the key.
func ExampleFromJSON() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotency, err := oncehttp.New(oncehttp.Config{
		Guard:           guard,
		KeyFrom:         oncehttp.FromJSON("/id"),
		FingerprintOmit: []string{"/sent_at"}, // differs from one try to the next
		Required:        true,
		Scope:           oncehttp.ScopeConstant("acme"), // whose signature was checked before
		Retention:       7 * 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	events := 0
	webhook := idempotency.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		events++
		fmt.Fprintf(w, "event %d", events)
	}))
	post(webhook, "/webhook", `{"id": "evt_1", "type": "paid", "sent_at": 1700000000}`)
	post(webhook, "/webhook", `{"id": "evt_1", "type": "paid", "sent_at": 1700000060}`)
	post(webhook, "/webhook", `{"id": "evt_2", "type": "paid", "sent_at": 1700000060}`)

	// Output:
	// 200 event 1
	// 200 event 1 (replayed)
	// 200 event 2
}

// A handler knows better than its status what happened.
func ExampleNoEffect() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotency, err := oncehttp.New(oncehttp.Config{
		Guard: guard,
		Scope: oncehttp.ScopeHeader("X-User"), // set by whatever authenticates
	})
	if err != nil {
		log.Fatal(err)
	}
	stock := 0
	order := idempotency.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stock == 0 {
			// Otherwise this would be the outcome, and the key be spent.
			oncehttp.NoEffect(r.Context())
			http.Error(w, "sold out, try again tomorrow", http.StatusConflict)
			return
		}
		stock--
		io.WriteString(w, "ordered")
	}))
	post(order, "/orders", `{}`, "X-User", "alice", "Idempotency-Key", "k")
	stock = 1
	post(order, "/orders", `{}`, "X-User", "alice", "Idempotency-Key", "k")
	post(order, "/orders", `{}`, "X-User", "alice", "Idempotency-Key", "k")

	// Output:
	// 409 sold out, try again tomorrow
	// 200 ordered
	// 200 ordered (replayed)
}

// Do not do this: the middleware is outside of authentication. A replay is an answer, and is given
// to whoever says that he is Alice.
func ExampleMiddleware_Wrap_incorrect() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotency, err := oncehttp.New(oncehttp.Config{
		Guard: guard,
		Scope: func(r *http.Request) (string, error) {
			if user := r.URL.Query().Get("user"); user != "" {
				return user, nil // nobody has checked that yet
			}
			return "", errors.New("no user")
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	users := map[string]string{"t1": "alice"}
	secret := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Alice's secret") })

	wrong := idempotency.Wrap(authenticate(users, secret))
	post(wrong, "/secrets?user=alice", `{}`, "Authorization", "Bearer t1", "Idempotency-Key", "k")
	post(wrong, "/secrets?user=alice", `{}`, "Authorization", "Bearer stolen", "Idempotency-Key", "k")

	right := authenticate(users, idempotency.Wrap(secret))
	post(right, "/secrets?user=alice", `{}`, "Authorization", "Bearer stolen", "Idempotency-Key", "k")

	// Output:
	// 200 Alice's secret
	// 200 Alice's secret (replayed)
	// 401 who are you?
}
