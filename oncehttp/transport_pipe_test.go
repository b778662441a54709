package oncehttp_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once/oncehttp"
)

// A pipeServer is a real server and a real transport that reaches it through pipes in memory, so
// that both run in a bubble.
type pipeServer struct {
	base   *http.Transport
	conns  chan net.Conn
	closed chan struct{}

	mu      sync.Mutex // guards the rest
	refuse  int        // the next connections
	seen    []seenRequest
	arrived []time.Duration // since the start
}

type seenRequest struct {
	method, url, host, key, body string
	length                       int64
	header, trailer              http.Header
}

func (s *pipeServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *pipeServer) Close() error   { close(s.closed); return nil }
func (s *pipeServer) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (s *pipeServer) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	refuse := s.refuse > 0
	if refuse {
		s.refuse--
	}
	s.mu.Unlock()
	if refuse {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: io.ErrClosedPipe}
	}
	client, server := net.Pipe()
	select {
	case s.conns <- server:
		return client, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// requests returns what the handler was asked so far.
func (s *pipeServer) requests() []seenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seenRequest(nil), s.seen...)
}

// wantOneKey checks that there were that many requests, all with the same key, and returns it.
func (s *pipeServer) wantOneKey(t *testing.T, requests int) string {
	t.Helper()
	seen := s.requests()
	if len(seen) != requests {
		t.Fatalf("%d requests came, want %d", len(seen), requests)
	}
	for i, r := range seen {
		if r.key != seen[0].key {
			t.Errorf("request %d has key %s, the first one %s", i, r.key, seen[0].key)
		}
		if r.body != seen[0].body {
			t.Errorf("request %d has body %.100q, the first one %.100q", i, r.body, seen[0].body)
		}
	}
	return seen[0].key
}

// inBubble runs f with a server for the handler, in a bubble.
func inBubble(t *testing.T, handler http.HandlerFunc, f func(t *testing.T, s *pipeServer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &pipeServer{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.base = &http.Transport{DialContext: s.dial}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			s.mu.Lock()
			if err == nil {
				s.arrived = append(s.arrived, time.Since(start))
				s.seen = append(s.seen, seenRequest{
					r.Method, r.URL.String(), r.Host, r.Header.Get("Idempotency-Key"), string(body), r.ContentLength,
					r.Header, r.Trailer,
				})
			}
			s.mu.Unlock()
			if err == nil {
				r.Body = io.NopCloser(bytes.NewReader(body))
				handler(w, r)
			}
		})}
		var wg sync.WaitGroup
		wg.Go(func() { srv.Serve(s) })
		defer func() {
			s.base.CloseIdleConnections()
			srv.Close()
			wg.Wait()
		}()
		f(t, s)
	})
}

// client returns a client whose transport is that of the config over the pipes.
func (s *pipeServer) client(t *testing.T, cfg oncehttp.TransportConfig) *http.Client {
	t.Helper()
	if cfg.Base == nil {
		cfg.Base = s.base
	}
	tr, err := oncehttp.NewTransport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: tr}
}

// inTurn answers the nth request by the nth handler, and further ones by the last.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[min(n, len(handlers)-1)]
		n++
		mu.Unlock()
		h(w, r)
	}
}

// answerWith answers with the status and the header, given as names and values in turn.
func answerWith(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, "{}")
	}
}

func problemBody(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// hangUp breaks the connection instead of answering.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func postTo(t *testing.T, c *http.Client, ctx context.Context, body io.Reader) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://api.test/charges?a=1", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return c.Do(req)
}

func wantAnswer(t *testing.T, res *http.Response, err error, status int) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("status is %d, want %d", res.StatusCode, status)
	}
	return string(body)
}
