package oncehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/retry"
)

func TestAKeyInTheHeaderIsSentAsItIs(t *testing.T) {
	for _, key := range []string{`"mine"`, "mine"} {
		inBubble(t, inTurn(answerWith(503), answerWith(200)), func(t *testing.T, s *pipeServer) {
			req, _ := http.NewRequestWithContext(oncehttp.WithKey(t.Context(), "other"), "POST", "http://api.test/", nil)
			req.Header.Set("Idempotency-Key", key)
			res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
			wantAnswer(t, res, err, 200)
			if got := s.wantOneKey(t, 2); got != key {
				t.Errorf("key is %s, want %s", got, key)
			}
		})
	}
}

func TestKeysThatCannotBeSentAreRefusedBeforehand(t *testing.T) {
	for _, c := range []struct {
		name, given, header string
		bare                bool
	}{
		{name: "empty", given: ""},
		{name: "too long", given: strings.Repeat("k", 256)},
		{name: "not ASCII", given: "schlüssel"},
		{name: "line end", given: "a\r\nb: c"},
		{name: "space without quotes", given: "a b", bare: true},
		{name: "quote without quotes", given: `a"b`, bare: true},
		{name: "broken header", header: `"a`},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
				closed := false
				req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://api.test/", &closingBody{strings.NewReader("x"), &closed})
				if c.header != "" {
					req.Header.Set("Idempotency-Key", c.header)
				} else {
					req = req.WithContext(oncehttp.WithKey(t.Context(), c.given))
				}
				_, err := s.client(t, oncehttp.TransportConfig{Bare: c.bare}).Do(req)
				if err == nil || len(s.requests()) != 0 {
					t.Fatalf("error is %v, %d requests were sent", err, len(s.requests()))
				}
				if len(c.given) > 1 && strings.Contains(err.Error(), c.given) {
					t.Errorf("error %v tells the key", err)
				}
				if !closed {
					t.Error("the body was not closed")
				}
			})
		})
	}
}

func TestHowKeysAreWritten(t *testing.T) {
	for _, c := range []struct {
		key, header, want string
		bare              bool
	}{
		{"a-1", "", `"a-1"`, false},
		{"a-1", "", `a-1`, true},
		{`a "b" \c`, "", `"a \"b\" \\c"`, false},
		{"a-1", "X-Request-Token", `"a-1"`, false},
	} {
		var got http.Header
		handler := func(w http.ResponseWriter, r *http.Request) { got = r.Header }
		inBubble(t, handler, func(t *testing.T, s *pipeServer) {
			cfg := oncehttp.TransportConfig{Bare: c.bare, Header: c.header}
			res, err := postTo(t, s.client(t, cfg), oncehttp.WithKey(t.Context(), c.key), nil)
			wantAnswer(t, res, err, 200)
			name := c.header
			if name == "" {
				name = "Idempotency-Key"
			}
			if value := got.Get(name); value != c.want {
				t.Errorf("key %s is sent as %s, want %s", c.key, value, c.want)
			}
			if key, err := oncehttp.ParseKey(got.Get(name), !c.bare); key != c.key || err != nil {
				t.Errorf("it is read as %q, %v", key, err)
			}
		})
	}
}

func TestRedirectsThatKeepTheMethodKeepTheKey(t *testing.T) {
	for _, c := range []struct {
		status int
		method string // of the last request
		same   bool
	}{{307, "POST", true}, {308, "POST", true}, {303, "GET", false}, {302, "GET", false}} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			for _, given := range []string{"", "mine"} {
				handler := inTurn(
					answerWith(503),
					answerWith(c.status, "Location", "/two"),
					answerWith(c.status, "Location", "http://other.test/three"),
					answerWith(503), answerWith(200))
				inBubble(t, handler, func(t *testing.T, s *pipeServer) {
					ctx := t.Context()
					if given != "" {
						ctx = oncehttp.WithKey(ctx, given)
					}
					res, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), ctx, strings.NewReader("{}"))
					wantAnswer(t, res, err, 200)
					seen := s.requests()
					last := seen[len(seen)-1]
					if len(seen) != 5 || last.method != c.method {
						t.Fatalf("%d requests, the last one is %s", len(seen), last.method)
					}
					if c.same {
						s.wantOneKey(t, 5)
					} else if last.key != "" {
						t.Errorf("%s has key %s", last.method, last.key)
					}
				})
			}
		})
	}
}

// A rerun sends the keys of the first attempt again, over whatever transport.
func TestARerunRepeatsTheKeysOfItsRequests(t *testing.T) {
	inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
		g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("connection reset")
		const perAttempt = 5
		for attempt := range 2 {
			_, err := once.Do(t.Context(), g, once.Key{Scope: "order", ID: "1"}, once.Fingerprint{}, func(ctx context.Context) (int, error) {
				for _, url := range []string{"http://api.test/charge", "http://api.test/charge", "http://user:pass@api.test/mail"} {
					req, _ := http.NewRequestWithContext(ctx, "POST", url, nil)
					res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
					wantAnswer(t, res, err, 200)
				}
				if _, err := once.Step(ctx, "reserve", func(ctx context.Context) (int, error) {
					res, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), ctx, nil)
					wantAnswer(t, res, err, 200)
					return 0, broken
				}); err != broken {
					t.Error(err)
				}
				names := []string{"a", "b"}
				if attempt == 1 {
					names = []string{"b", "a"}
				}
				for _, name := range names[:1] {
					req, _ := http.NewRequestWithContext(oncehttp.WithName(ctx, name), "POST", "http://api.test/"+name, nil)
					res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
					wantAnswer(t, res, err, 200)
				}
				return 0, broken
			})
			if err != broken {
				t.Fatal(err)
			}
		}
		seen := s.requests()
		keys := make(map[string]bool)
		for i := range perAttempt {
			first, second := seen[i], seen[perAttempt+i]
			if same := first.key == second.key; same != (i < 4) {
				t.Errorf("request %d of both attempts has the same key: %t", i, same)
			}
			keys[first.key] = true
		}
		if len(keys) != perAttempt || len(seen) != 2*perAttempt {
			t.Errorf("%d requests of an attempt have %d keys", len(seen)/2, len(keys))
		}
	})
}

// The point of it all: whatever happens to responses, the effect happens once and the caller gets
// its outcome.
func TestTransportAndMiddlewareMakeOneEffect(t *testing.T) {
	g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := oncehttp.New(oncehttp.Config{Guard: g, DangerouslyShareKeys: true, Required: true})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	effects := make(map[string]int)
	guarded := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		effects[string(body)]++
		mu.Unlock()
		w.WriteHeader(201)
		fmt.Fprintf(w, "done %s", body)
	}))
	n := 0
	lossy := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		turn := n % 3
		mu.Unlock()
		switch turn {
		case 1:
			hangUp(w, r) // the request was lost
		case 2:
			guarded.ServeHTTP(httptest.NewRecorder(), r)
			hangUp(w, r) // the response was lost
		}
		guarded.ServeHTTP(w, r)
	}
	inBubble(t, lossy, func(t *testing.T, s *pipeServer) {
		c := s.client(t, oncehttp.TransportConfig{Retry: retry.Policy{Budget: &retry.Budget{Burst: 100}}})
		for i := range 20 {
			body := fmt.Sprintf(`{"order":%d}`, i)
			res, err := postTo(t, c, t.Context(), strings.NewReader(body))
			if got := wantAnswer(t, res, err, 201); got != "done "+body {
				t.Errorf("answer is %q", got)
			}
		}
	})
	if len(effects) != 20 {
		t.Errorf("%d orders took effect, want 20", len(effects))
	}
	for order, n := range effects {
		if n != 1 {
			t.Errorf("%s took effect %d times", order, n)
		}
	}
}

// A try that timed out has left the operation in flight: the next ones are told so, come back
// when they may, and are given its response.
func TestTransportWaitsForAnOperationInFlight(t *testing.T) {
	g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := oncehttp.New(oncehttp.Config{Guard: g, DangerouslyShareKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	guarded := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		runs++
		time.Sleep(5 * time.Second)
		io.WriteString(w, "done")
	}))
	inBubble(t, guarded.ServeHTTP, func(t *testing.T, s *pipeServer) {
		var statuses []int
		c := s.client(t, oncehttp.TransportConfig{
			TryTimeout: 2 * time.Second,
			Retry:      retry.Policy{Tries: 20, Budget: &retry.Budget{Burst: 100}},
			Observe: func(_ context.Context, try oncehttp.Try) {
				status := 0
				if try.Response != nil {
					status = try.Response.StatusCode
				}
				statuses = append(statuses, status)
			},
		})
		res, err := postTo(t, c, t.Context(), strings.NewReader("{}"))
		if body := wantAnswer(t, res, err, 200); body != "done" {
			t.Errorf("answer is %q", body)
		}
		last := len(statuses) - 1
		if last < 2 || statuses[0] != 0 || statuses[1] != 409 || statuses[last] != 200 || runs != 1 {
			t.Errorf("handler was run %d times, statuses are %v", runs, statuses)
		}
	})
}
