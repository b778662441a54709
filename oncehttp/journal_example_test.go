package oncehttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/retry"
)

// A payout is recorded before it is sent. The service is down; later, perhaps in another process,
// the same request goes out with the same key.
func ExampleJournal() {
	up := false
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "paid out")
	}))
	defer service.Close()

	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(dir, "records")})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	transport, err := oncehttp.NewTransport(oncehttp.TransportConfig{Retry: retry.Policy{Tries: 1}})
	if err != nil {
		panic(err)
	}
	journal, err := oncehttp.NewJournal(oncehttp.JournalConfig{Store: store, Scope: "payouts", Transport: transport})
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, service.URL, strings.NewReader(`{"amount":5}`))
	_, err = journal.Do(ctx, "payout-7", req)
	fmt.Println(err)

	up = true
	for id, err := range journal.Pending(ctx) {
		if err != nil {
			panic(err)
		}
		res, err := journal.Resume(ctx, id)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(res.Body)
		fmt.Println(id, string(body))
	}
	// Output:
	// oncehttp: request is still pending: response was 503 Service Unavailable
	// payout-7 paid out
}
