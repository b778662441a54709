package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/config"
	"github.com/oncehq/once/cmd/once/internal/gateway"
	"github.com/oncehq/once/oncemem"
)

// A rig is a gateway that runs in front of a service.
type rig struct {
	t     *testing.T
	g     *gateway.Gateway
	addr  string
	admin string
	store once.Store
	log   *safeBuffer
	stop  func() error // drains; may be called more than once
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a gateway in front of the service at the URL. Later args win over the usual ones.
func start(t *testing.T, url string, args ...string) *rig {
	t.Helper()
	args = append([]string{"--upstream", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--scope", "header:X-Tenant",
		"--in-doubt", "hold", "--dangerously-trust-store", "--log-level", "debug", "--upstream-retries", "0", "--drain", "20s"}, args...)
	cfg, err := config.Load(args, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: new(oncemem.Store), log: new(safeBuffer)}
	log := slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.g, err = gateway.New(t.Context(), cfg, r.store, []byte("0123456789abcdef"), log)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	r.addr = s.Addr().String()
	if a := s.AdminAddr(); a != nil {
		r.admin = a.String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { r.stop() })
	return r
}

// service runs a handler as the service behind gateways.
func service(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// counting answers 201 and how often it was called.
func counting(t *testing.T) (url string, calls func() int) {
	t.Helper()
	var n atomic.Int64
	url = service(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		n.Add(1)
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "did "+string(b))
	})
	return url, func() int { return int(n.Load()) }
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) replayed() bool { return a.header.Get("Idempotency-Replayed") == "true" }

// request returns one with the fields, a name and a value each. "key" and "tenant" are short names.
func request(t *testing.T, method, url, body string, fields ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		name := map[string]string{"key": "Idempotency-Key", "tenant": "X-Tenant"}[fields[i]]
		if name == "" {
			name = fields[i]
		}
		req.Header.Add(name, fields[i+1])
	}
	return req
}

func (r *rig) do(req *http.Request) answer {
	r.t.Helper()
	a, err := r.try(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) try(req *http.Request) (answer, error) {
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

// post sends a request of tenant acme with the key.
func (r *rig) post(path, key, body string, fields ...string) answer {
	r.t.Helper()
	return r.do(request(r.t, "POST", "http://"+r.addr+path, body, append([]string{"tenant", "acme", "key", key}, fields...)...))
}

// raw writes the text to the gateway and reads all that comes back.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, text)
	b, _ := io.ReadAll(c) // a reset after the answer is no matter
	return string(b)
}

// rawHalfClosed is like raw, but then sends no more.
func (r *rig) rawHalfClosed(text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, text)
	c.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}

func (r *rig) records() []once.Record {
	r.t.Helper()
	var all []once.Record
	for rec, err := range r.store.(once.Lister).List(r.t.Context(), once.Filter{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

func (a answer) problem() string {
	_, name, _ := strings.Cut(a.body, "#")
	name, _, _ = strings.Cut(name, `"`)
	return name
}

// listenQuietly listens on a port that the system gives to nobody by itself: when it is closed, no
// other test is there all of a sudden.
func listenQuietly(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000)))
		if err == nil {
			return l
		}
	}
	t.Fatal("no port is free")
	return nil
}
