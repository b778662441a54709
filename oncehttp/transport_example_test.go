package oncehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/retry"
)

// The first response is lost. The client sends the same request with the same key, and the
// service does not charge again.
func ExampleTransport() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true})
	if err != nil {
		panic(err)
	}
	guarded, err := oncehttp.New(oncehttp.Config{
		Guard: guard,
		Scope: oncehttp.ScopeConstant("customer-9"),
	})
	if err != nil {
		panic(err)
	}
	charge := guarded.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("charging the card")
		fmt.Fprint(w, "receipt 17")
	}))
	lost := false
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lost {
			lost = true
			charge.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // the connection breaks
		}
		charge.ServeHTTP(w, r)
	}))
	defer service.Close()

	transport, err := oncehttp.NewTransport(oncehttp.TransportConfig{})
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: transport}
	res, err := client.Post(service.URL+"/charges", "application/json", strings.NewReader(`{"amount":5}`))
	if gaveUp, ok := errors.AsType[*retry.GiveUpError](err); ok {
		_ = gaveUp.Key // keep it, and go on with WithKey
	}
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(string(body), oncehttp.Replayed(res))
	// Output:
	// charging the card
	// receipt 17 true
}

// A caller that keeps its keys goes on with an operation after it gave up.
func ExampleWithKey() {
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Header.Get("Idempotency-Key"))
	}))
	defer service.Close()
	transport, _ := oncehttp.NewTransport(oncehttp.TransportConfig{})
	client := &http.Client{Transport: transport}
	ctx := oncehttp.WithKey(context.Background(), "order-42/charge")
	for range 2 {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, service.URL, nil)
		res, err := client.Do(req)
		if err != nil {
			panic(err)
		}
		res.Body.Close()
	}
	// Output:
	// "order-42/charge"
	// "order-42/charge"
}
