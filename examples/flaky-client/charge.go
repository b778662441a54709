package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/retry"
)

// tryTimeout is how long the client waits for the answer to one try.
const tryTimeout = 500 * time.Millisecond

// newClient returns a client that makes a key for each request and repeats it until there is an
// answer. A client of your own needs no more than a &http.Client{Transport: transport} with the
// zero TransportConfig; this one is impatient, since the example should not take long.
func newClient(observe func(context.Context, oncehttp.Try)) (*http.Client, error) {
	transport, err := oncehttp.NewTransport(oncehttp.TransportConfig{
		TryTimeout: tryTimeout,
		Retry: retry.Policy{
			Base: 20 * time.Millisecond, Cap: time.Second, Tries: 50,
			// The default budget has clients give up soon when most requests fail, so that they do
			// not make an outage worse. Here that is not an outage but the example.
			Budget: &retry.Budget{Burst: math.Inf(1)},
		},
		Observe: observe,
	})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport}, nil
}

func charge(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"amount":1250}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if gaveUp, ok := errors.AsType[*retry.GiveUpError](err); ok {
		// Whoever wants to go on later has to keep gaveUp.Key, for oncehttp.WithKey; Journal does it.
		return nil, fmt.Errorf("no answer after %d tries: %w", gaveUp.Tries, err)
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("the answer is %s", res.Status)
	}
	return res, nil
}

// chargeOne prints each try.
func chargeOne(ctx context.Context, out io.Writer, url string) error {
	client, err := newClient(func(_ context.Context, try oncehttp.Try) {
		fmt.Fprintf(out, "  try %d: %s\n", try.Number, outcome(try))
	})
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	_, err = charge(ctx, client, url)
	return err
}

func outcome(try oncehttp.Try) string {
	switch {
	case try.Err != nil:
		return "no answer: " + try.Err.Error()
	case oncehttp.Replayed(try.Response):
		return try.Response.Status + ", replayed"
	}
	return try.Response.Status
}

// chargeMany charges from several goroutines, and prints how many tries that took.
func chargeMany(ctx context.Context, out io.Writer, url string, charges int) error {
	var tries, begun, failed atomic.Int64
	client, err := newClient(func(context.Context, oncehttp.Try) { tries.Add(1) })
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var workers sync.WaitGroup
	for range 50 {
		workers.Go(func() {
			for begun.Add(1) <= int64(charges) {
				if _, err := charge(ctx, client, url); err != nil {
					failed.Add(1)
					fmt.Fprintf(out, "  failed: %v\n", err)
				}
			}
		})
	}
	workers.Wait()
	fmt.Fprintf(out, "  answered: %d, after %d tries\n", int64(charges)-failed.Load(), tries.Load())
	return nil
}
