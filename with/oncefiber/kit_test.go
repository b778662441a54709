package oncefiber_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncefiber"
)

func newGuard(t testing.TB, cfg once.Config) *once.Guard {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = new(oncemem.Store)
	}
	cfg.InDoubt, cfg.DangerouslyTrustStore = once.Hold, true
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// guardedBy returns the middleware, with what a test does not care about filled in.
func guardedBy(t testing.TB, cfg oncehttp.Config) fiber.Handler {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, once.Config{})
	}
	if cfg.Scope == nil {
		cfg.Scope = oncehttp.ScopeHeader("X-User")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := oncefiber.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A site is an app on a real connection.
type site struct {
	t    testing.TB
	app  *fiber.App
	addr string
	runs atomic.Int64
}

// newSite serves POST /things/:id.
func newSite(t testing.TB, cfg fiber.Config, handler fiber.Handler, middleware ...any) *site {
	t.Helper()
	s := &site{t: t, app: fiber.New(cfg)}
	s.serve(handler, middleware...)
	return s
}

func (s *site) serve(handler fiber.Handler, middleware ...any) {
	for _, m := range middleware {
		s.app.Use(m)
	}
	s.app.Post("/things/:id", func(c fiber.Ctx) error {
		s.runs.Add(1)
		return handler(c)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- s.app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
	s.t.Cleanup(func() {
		s.app.ShutdownWithTimeout(10 * time.Second)
		<-ended
	})
}

func (s *site) wantRuns(want int64) {
	s.t.Helper()
	if got := s.runs.Load(); got != want {
		s.t.Errorf("the handler was run %d times, want %d", got, want)
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) replayed() bool { return a.header.Get("Idempotency-Replayed") == "true" }

func (a answer) problem() string {
	if a.header.Get("Content-Type") != "application/problem+json" {
		return ""
	}
	_, name, _ := strings.Cut(a.body, "#")
	name, _, _ = strings.Cut(name, `"`)
	return name
}

func (s *site) post(path, key, body string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-User", "alice")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	res, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		return answer{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		b = append(b, "; cut off"...)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

var date = regexp.MustCompile("Date: .*\r\n")

// raw sends a request on a connection of its own, and returns all that comes back, less the date.
func (s *site) raw(key string) string {
	s.t.Helper()
	return s.send("POST /things/7?q=1 HTTP/1.1\r\nHost: test\r\nX-User: alice\r\nIdempotency-Key: \"" + key + "\"\r\n" +
		"Connection: close\r\nContent-Length: 5\r\n\r\nhello")
}

func (s *site) send(request string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, request)
	var b bytes.Buffer
	if _, err := b.ReadFrom(conn); err != nil {
		s.t.Fatal(err)
	}
	return date.ReplaceAllString(b.String(), "")
}
