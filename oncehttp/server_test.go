package oncehttp_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// newGuard returns a guard over a store in memory, unless cfg has another one.
func newGuard(t testing.TB, cfg once.Config) *once.Guard {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = new(oncemem.Store)
	}
	if cfg.InDoubt == 0 {
		cfg.InDoubt = once.Hold
	}
	cfg.DangerouslyTrustStore = cfg.InDoubt == once.Hold
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// byUser scopes by a header that stands for what authentication found out.
var byUser = oncehttp.ScopeHeader("X-User")

// newMiddleware fills in what a test does not care about.
func newMiddleware(t testing.TB, cfg oncehttp.Config) *oncehttp.Middleware {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, once.Config{})
	}
	if cfg.Scope == nil && !cfg.DangerouslyShareKeys {
		cfg.Scope = byUser
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := oncehttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A counter is a handler that counts how often it is run.
type counter struct {
	runs atomic.Int64
	next http.HandlerFunc
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.runs.Add(1)
	c.next(w, r)
}

func (c *counter) wantRuns(t *testing.T, want int64) {
	t.Helper()
	if got := c.runs.Load(); got != want {
		t.Errorf("the handler was run %d times, want %d", got, want)
	}
}

// created answers like a handler that has made something; no two answers are the same.
func created() *counter {
	c := new(counter)
	c.next = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/things/1")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]int64{"run": c.runs.Load()})
	}
	return c
}

// status answers with a status and nothing else.
func status(code int) *counter {
	return &counter{next: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }}
}

// A call is a request with a key.
type call struct {
	method, target, key, user, body string
	header                          http.Header
}

func (c call) request() *http.Request {
	if c.method == "" {
		c.method = "POST"
	}
	if c.target == "" {
		c.target = "/things"
	}
	if c.user == "" {
		c.user = "alice"
	}
	r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
	r.Header.Set("X-User", c.user)
	if c.key != "" {
		r.Header.Set("Idempotency-Key", c.key)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	return r
}

// do sends the call to the handler and returns the response with its body read.
func do(h http.Handler, c call) *answer {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, c.request())
	return &answer{w.Result(), w.Body.String()}
}

type answer struct {
	*http.Response
	body string
}

func (a *answer) replayed() bool { return a.Header.Get("Idempotency-Replayed") == "true" }

func (a *answer) wantStatus(t *testing.T, want int) {
	t.Helper()
	if a.StatusCode != want {
		t.Errorf("status is %d, want %d; body: %s", a.StatusCode, want, a.body)
	}
}

// wantReplayOf checks that a is a replay of first.
func (a *answer) wantReplayOf(t *testing.T, first *answer) {
	t.Helper()
	if !a.replayed() {
		t.Errorf("response is not marked as a replay: %d %s", a.StatusCode, a.body)
	}
	if a.StatusCode != first.StatusCode || a.body != first.body {
		t.Errorf("replay is %d %q, want %d %q", a.StatusCode, a.body, first.StatusCode, first.body)
	}
	if first.replayed() {
		t.Error("the first response is marked as a replay")
	}
}

// wantProblem checks that a is the problem of that name, in due form.
func (a *answer) wantProblem(t *testing.T, name string, status int) oncehttp.Problem {
	t.Helper()
	var p oncehttp.Problem
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type is %q (status %d, body %q), want a problem", got, a.StatusCode, a.body)
		return p
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("problem is not JSON: %v", err)
	}
	if !strings.HasSuffix(a.body, "}\n") || strings.Count(a.body, "\n") != 1 {
		t.Errorf("problem is not one line: %q", a.body)
	}
	if p.Name() != name || p.Status != status || a.StatusCode != status {
		t.Errorf("problem is %q (%d, sent with %d), want %q (%d)", p.Name(), p.Status, a.StatusCode, name, status)
	}
	if p.Title == "" || !strings.HasPrefix(p.Instance, "urn:uuid:") || len(p.Instance) != 45 {
		t.Errorf("problem %q lacks a title or a proper instance: %s", name, a.body)
	}
	if (status == 409 || status == 503) != (a.Header.Get("Retry-After") != "") {
		t.Errorf("problem %q has Retry-After %q", name, a.Header.Get("Retry-After"))
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("problem %q may be cached", name)
	}
	return p
}

// eventually waits for a condition that another goroutine will bring about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out waiting until", what)
		}
	}
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// newServer returns a server for HTTP/1.1 that complains to nobody.
func newServer(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}
