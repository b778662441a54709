package transcript_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// Chi needs no adapter: Wrap is a middleware as chi knows them.
func Example_chi() {
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	idempotency, err := oncehttp.New(oncehttp.Config{Guard: guard, Scope: oncehttp.ScopeBasic})
	if err != nil {
		log.Fatal(err)
	}
	charges := 0
	r := chi.NewRouter()
	r.Use(middleware.Recoverer, middleware.BasicAuth("shop", map[string]string{"alice": "right"}))
	r.With(idempotency.Wrap).Post("/customers/{id}/charges", func(w http.ResponseWriter, r *http.Request) {
		charges++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "charge %d of customer %s", charges, chi.URLParam(r, "id"))
	})

	for range 2 {
		req := httptest.NewRequest("POST", "/customers/7/charges", strings.NewReader(`{"amount": 5}`))
		req.SetBasicAuth("alice", "right")
		req.Header.Set("Idempotency-Key", `"order-1"`)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		fmt.Printf("%d %s, replayed: %t\n", w.Code, w.Body, w.Header().Get("Idempotency-Replayed") == "true")
	}
	// Output:
	// 201 charge 1 of customer 7, replayed: false
	// 201 charge 1 of customer 7, replayed: true
}
