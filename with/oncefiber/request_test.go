package oncefiber_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v3"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/with/oncefiber"
)

// Fasthttp uses the memory of a request again for the next one on the connection.
func TestKeysAndScopesSurviveTheirRequests(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{
		Scope: oncefiber.Scope(func(c fiber.Ctx) (string, error) { return c.Get("X-User"), nil }),
	})
	s := newSite(t, fiber.Config{}, func(c fiber.Ctx) error { return c.Send(c.Body()) }, guarded)
	var requests strings.Builder
	const n = 50
	for round := range 2 {
		for i := range n {
			end := "keep-alive"
			if round == 1 && i == n-1 {
				end = "close"
			}
			fmt.Fprintf(&requests, "POST /things/%02d HTTP/1.1\r\nHost: test\r\nX-User: user-%02d\r\nIdempotency-Key: \"key-%02d\"\r\n"+
				"Connection: %s\r\nContent-Length: 7\r\n\r\nbody-%02d", i, i, i, end, i)
		}
	}
	responses := s.send(requests.String())
	for i := range n {
		body := fmt.Sprintf("body-%02d", i)
		if got := strings.Count(responses, body); got != 2 {
			t.Errorf("%s was answered %d times", body, got)
		}
	}
	if got := strings.Count(responses, "Idempotency-Replayed: true"); got != n {
		t.Errorf("%d replays", got)
	}
	s.wantRuns(n)
}

// A key that is found in Fiber's context is a string that fasthttp uses again. The guard keeps it, in
// its cache, as do observers and stores.
func TestKeysFromTheContextSurviveTheirRequests(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var claimed []once.Key
	guarded := guardedBy(t, oncehttp.Config{
		Guard: newGuard(t, once.Config{Observe: func(_ context.Context, e once.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == once.Claimed {
				claimed = append(claimed, e.Key)
			}
		}}),
		KeyFrom: func(r *http.Request, _ []byte) (string, error) {
			c, _ := oncefiber.From(r)
			return c.Get("X-Event"), nil
		},
	})
	s := newSite(t, fiber.Config{}, created, guarded)
	var requests strings.Builder
	const n = 20
	for i := range n {
		end := "keep-alive"
		if i == n-1 {
			end = "close"
		}
		fmt.Fprintf(&requests, "POST /things/7 HTTP/1.1\r\nHost: test\r\nX-User: alice\r\nX-Event: event-%02d\r\n"+
			"Connection: %s\r\nContent-Length: 5\r\n\r\nhello", i, end)
	}
	s.send(requests.String())
	s.wantRuns(n)
	mu.Lock()
	defer mu.Unlock()
	for i, k := range claimed {
		if want := fmt.Sprintf("event-%02d", i); k.ID != want {
			t.Errorf("the key %s became %q", want, k.ID)
		}
	}
	if len(claimed) != n {
		t.Errorf("%d claims, want %d", len(claimed), n)
	}
}

// The handlers read what the middleware has read before.
func TestStreamedRequestIsGuardedAndRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{StreamRequestBody: true}, func(c fiber.Ctx) error { return c.Send(c.Body()) },
		guardedBy(t, oncehttp.Config{MaxRequestBody: 100_000}))
	body := strings.Repeat("x", 90_000)
	if a := s.post("/things/7", "k", body); a.status != 200 || a.body != body {
		t.Errorf("got %d, %d bytes", a.status, len(a.body))
	}
	if a := s.post("/things/7", "k", body); !a.replayed() || a.body != body {
		t.Errorf("got %d, %d bytes", a.status, len(a.body))
	}
	if a := s.post("/things/7", "k", body[1:]); a.status != 422 {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/7", "k2", strings.Repeat("x", 100_001)); a.status != 413 {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/7", "", body); a.status != 200 || a.body != body {
		t.Errorf("unguarded: got %d, %d bytes", a.status, len(a.body))
	}
	s.wantRuns(2)
}

// Of a form that Fiber has parsed nobody knows the order any more.
func TestFormIsTheSameRequestAgain(t *testing.T) {
	t.Parallel()
	form := func(boundary, file string) string {
		body := ""
		for _, field := range []string{"a", "b", "c", "d", "e"} {
			body += "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + field + "\"\r\n\r\n" + field + "\r\n"
		}
		return body + "--" + boundary + "\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\n" + file + "\r\n--" + boundary + "--\r\n"
	}
	for _, cfg := range []fiber.Config{{}, {DisablePreParseMultipartForm: true}} {
		s := newSite(t, cfg, func(c fiber.Ctx) error {
			f, err := c.FormFile("f")
			if err != nil {
				return err
			}
			return c.SendString(fmt.Sprint(c.FormValue("c"), f.Size))
		}, guardedBy(t, oncehttp.Config{}))
		send := func(key, boundary, file string) string {
			body := form(boundary, file)
			return s.send(fmt.Sprintf("POST /things/7 HTTP/1.1\r\nHost: test\r\nX-User: alice\r\nIdempotency-Key: %s\r\nConnection: close\r\n"+
				"Content-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n%s", key, boundary, len(body), body))
		}
		for i := range 10 {
			if wire := send("k", fmt.Sprint("b", i), "hello"); !strings.HasPrefix(wire, "HTTP/1.1 200 ") || !strings.HasSuffix(wire, "\r\n\r\nc5") {
				t.Errorf("got %q", wire)
			}
		}
		if wire := send("k", "b", "jello"); !strings.HasPrefix(wire, "HTTP/1.1 422 ") {
			t.Errorf("got %q", wire)
		}
		s.wantRuns(1)
	}
}

func TestKeyIsFoundInAnySpelling(t *testing.T) {
	t.Parallel()
	for _, cfg := range []fiber.Config{{}, {DisableHeaderNormalizing: true}} {
		s := newSite(t, cfg, created, guardedBy(t, oncehttp.Config{}))
		for range 2 {
			s.send("POST /things/7 HTTP/1.1\r\nHost: test\r\nx-user: alice\r\nidempotency-KEY: k\r\nConnection: close\r\n\r\n")
		}
		s.wantRuns(1)
	}
}

func TestTargetThatIsNoURLIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{}, created, guardedBy(t, oncehttp.Config{}))
	if wire := s.send("POST /things/%zz HTTP/1.1\r\nHost: test\r\nX-User: alice\r\nIdempotency-Key: k\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(wire, "HTTP/1.1 400 ") {
		t.Errorf("got %q", wire)
	}
	s.wantRuns(0)
}

// What the functions of the configuration are shown is the request.
func TestRequestIsShownAsItIs(t *testing.T) {
	t.Parallel()
	var shown string
	guarded := guardedBy(t, oncehttp.Config{Scope: func(r *http.Request) (string, error) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		shown = fmt.Sprint(r.Method, r.URL, r.Host, r.Proto, host, err, r.Header["X-Two"], r.Header["Cookie"], r.ContentLength, r.RequestURI, r.TLS == nil)
		return "somebody", nil
	}})
	s := newSite(t, fiber.Config{}, created, guarded)
	s.send("POST /things/a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: shop.test\r\nX-Two: 1\r\nX-Two: 2, 3\r\nCookie: a=1; b=2\r\n" +
		"Idempotency-Key: k\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
	want := "POST/things/a%2Fb?x=1&y=%20shop.testHTTP/1.1127.0.0.1<nil>[1 2, 3][a=1; b=2]5/things/a%2Fb?x=1&y=%20true"
	if got := strings.ReplaceAll(shown, " ", ""); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %q, want %q", shown, want)
	}
}
