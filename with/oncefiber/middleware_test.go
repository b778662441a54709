package oncefiber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncefiber"
)

func created(c fiber.Ctx) error {
	c.Location("/things/" + c.Params("id"))
	return c.Status(201).SendString("thing " + c.Params("id"))
}

func TestOperationHappensOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{}, created, guardedBy(t, oncehttp.Config{}))
	first, second := s.post("/things/7", "k", "{}"), s.post("/things/7", `"k"`, "{}")
	if first.status != 201 || first.replayed() || first.header.Get("Location") != "/things/7" {
		t.Errorf("got %+v", first)
	}
	if second.status != 201 || !second.replayed() || second.body != first.body {
		t.Errorf("got %+v", second)
	}
	if a := s.post("/things/7", "k", "[]"); a.problem() != "key-reused" || a.status != 422 {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
	s.post("/things/7", "", "{}")
	s.wantRuns(2)
}

func TestRefusedRequestIsNotRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{}, created, guardedBy(t, oncehttp.Config{Required: true}))
	if a := s.post("/things/7", "", "{}"); a.problem() != "key-missing" || a.status != 400 {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(0)
}

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

func TestHandlerFindsItsAttempt(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{}, func(c fiber.Ctx) error {
		a, ok := once.FromContext(c.Context())
		if !ok || a.Key().ID != "k" || !oncehttp.Final(c.Context()) {
			t.Error("no attempt")
		}
		return c.Status(503).SendString("final all the same")
	}, func(c fiber.Ctx) error {
		err := c.Next()
		if _, ok := once.FromContext(c.Context()); ok {
			t.Error("the context is not given back")
		}
		return err
	}, guardedBy(t, oncehttp.Config{}))
	s.post("/things/7", "k", "")
	if a := s.post("/things/7", "k", ""); a.status != 503 || !a.replayed() {
		t.Errorf("got %+v", a)
	}
}

func TestScopeIsThatOfTheContext(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{
		Scope: oncefiber.Scope(func(c fiber.Ctx) (string, error) { return fiber.Locals[string](c, "user"), nil }),
	})
	authenticate := func(c fiber.Ctx) error {
		c.Locals("user", c.Get("X-Login"))
		return c.Next()
	}
	s := newSite(t, fiber.Config{}, created, authenticate, guarded)
	if a := s.post("/things/7", "k", ""); a.problem() != "scope-refused" || a.status != 403 {
		t.Errorf("got %+v", a)
	}
	for _, user := range []string{"alice", "bob"} {
		answer := s.send("POST /things/7 HTTP/1.1\r\nHost: test\r\nX-Login: " + user + "\r\nIdempotency-Key: k\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 201 ") || strings.Contains(answer, "Replayed") {
			t.Errorf("%s: got %q", user, answer)
		}
	}
	if _, ok := oncefiber.From(httptest.NewRequest("POST", "/", nil)); ok {
		t.Error("a request from elsewhere has a context")
	}
	if _, err := oncefiber.Scope(nil)(httptest.NewRequest("POST", "/", nil)); err == nil {
		t.Error("a request from elsewhere has a scope")
	}
}

// The error is answered before the response is recorded, by the error handler of the app.
func TestErrorOfTheHandlerIsTheOutcome(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	cfg := fiber.Config{ErrorHandler: func(c fiber.Ctx, err error) error {
		handled.Add(1)
		return c.Status(422).SendString("refused: " + err.Error())
	}}
	s := newSite(t, cfg, func(fiber.Ctx) error { return errors.New("no such thing") }, guardedBy(t, oncehttp.Config{}))
	first, second := s.post("/things/7", "k", ""), s.post("/things/7", "k", "")
	if first.status != 422 || first.body != "refused: no such thing" {
		t.Errorf("got %+v", first)
	}
	if second.status != 422 || second.body != first.body || !second.replayed() {
		t.Errorf("got %+v", second)
	}
	if handled.Load() != 1 {
		t.Errorf("the error was handled %d times", handled.Load())
	}
	s.post("/things/7", "", "")
	if handled.Load() != 2 {
		t.Error("the error of an unguarded request was not left to Fiber")
	}
	s.wantRuns(2)
}

func TestErrorHandlerThatFailsLeavesTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	cfg := fiber.Config{ErrorHandler: func(_ fiber.Ctx, err error) error { return err }}
	s := newSite(t, cfg, func(fiber.Ctx) error { return errors.New("oops") }, guardedBy(t, oncehttp.Config{}))
	if a := s.post("/things/7", "k", ""); a.status != 500 {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/7", "k", ""); a.problem() != "in-doubt" {
		t.Errorf("got %+v", a)
	}
}

func TestPanicLeavesTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]func(guarded any) []any{
		"recovered outside": func(guarded any) []any { return []any{recover.New(), guarded} },
		"recovered inside":  func(guarded any) []any { return []any{guarded, recover.New()} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fiber.Config{}, func(c fiber.Ctx) error {
				c.Set("X-Half", "done")
				panic("oops")
			}, order(guardedBy(t, oncehttp.Config{}))...)
			if a := s.post("/things/7", "k", ""); a.status != 500 {
				t.Errorf("got %+v", a)
			}
			if a := s.post("/things/7", "k", ""); a.problem() != "in-doubt" {
				t.Errorf("got %+v", a)
			}
			s.wantRuns(1)
		})
	}
}

func TestGuardedTwiceIsGuarded(t *testing.T) {
	t.Parallel()
	g := newGuard(t, once.Config{})
	s := newSite(t, fiber.Config{}, created, guardedBy(t, oncehttp.Config{Guard: g}), guardedBy(t, oncehttp.Config{Guard: g}))
	first := s.post("/things/7", "k", "")
	if a := s.post("/things/7", "k", ""); first.status != 201 || a.status != 201 || !a.replayed() || a.body != "thing 7" {
		t.Errorf("got %+v, %+v", first, a)
	}
	s.wantRuns(1)
}

// Fields that were set outside are those of the replay, and a refusal keeps them.
func TestFieldsFromOutsideAreNotReplayed(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	outside := func(c fiber.Ctx) error {
		c.Set("X-Request-Id", fmt.Sprint(n.Add(1)))
		c.Set("Access-Control-Allow-Origin", "*")
		return c.Next()
	}
	s := newSite(t, fiber.Config{}, created, outside, guardedBy(t, oncehttp.Config{}))
	for i, body := range []string{"", "", "other"} {
		a := s.post("/things/7", "k", body)
		if a.header.Get("X-Request-Id") != fmt.Sprint(i+1) || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("response %d: got %+v", i, a)
		}
		if i == 1 && a.header.Get("Access-Control-Expose-Headers") != "Idempotency-Replayed" {
			t.Errorf("response %d: got %+v", i, a)
		}
	}
}

// The answer replaces all that the handlers have made when that must not be shown.
func TestResponseThatCannotBeRecordedIsNotShown(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	store := &broken{new(oncemem.Store)}
	s := newSite(t, fiber.Config{}, func(c fiber.Ctx) error {
		c.Set("X-Secret", "1")
		c.Cookie(&fiber.Cookie{Name: "secret", Value: "1"})
		return c.SendStream(&closing{strings.NewReader("secret"), closed})
	}, guardedBy(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}))
	wire := s.raw("k")
	if !strings.HasPrefix(wire, "HTTP/1.1 503 ") || strings.Contains(strings.ToLower(wire), "secret") || !strings.Contains(wire, "#outcome-unknown") {
		t.Errorf("got %q", wire)
	}
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Error("the stream is not closed")
	}
}

type closing struct {
	io.Reader
	closed chan struct{}
}

func (c *closing) Close() error { close(c.closed); return nil }

// broken is a store that takes no outcome, and says at once that it never will.
type broken struct{ once.Store }

func (*broken) Complete(context.Context, once.Key, once.Owner, once.Outcome, time.Duration) error {
	return once.ErrLost
}

func TestStreamThatBreaksLeavesTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{}, func(c fiber.Ctx) error {
		return c.SendStream(strings.NewReader("short"), 10)
	}, guardedBy(t, oncehttp.Config{}))
	if a := s.post("/things/7", "k", ""); a.status != 500 {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/7", "k", ""); a.problem() != "in-doubt" {
		t.Errorf("got %+v", a)
	}
}

func TestConnectionThatIsTakenOverIsNotRunAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, fiber.Config{}, func(c fiber.Ctx) error {
		c.RequestCtx().HijackSetNoResponse(true)
		c.RequestCtx().Hijack(func(conn net.Conn) { io.WriteString(conn, "own words") })
		return nil
	}, guardedBy(t, oncehttp.Config{}))
	if wire := s.raw("k"); wire != "own words" {
		t.Errorf("got %q", wire)
	}
	if wire := s.raw("k"); !strings.HasPrefix(wire, "HTTP/1.1 410 ") {
		t.Errorf("got %q", wire)
	}
	s.wantRuns(1)
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

// rollsBack is a store whose transactions are rolled back so many times.
type rollsBack struct {
	once.Store
	times int
}

func (s *rollsBack) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	if s.times == 0 {
		return s.Store.Complete(ctx, k, o, out, d)
	}
	s.times--
	if err := s.Store.Release(ctx, k, o); err != nil {
		return err
	}
	return once.ErrRolledBack
}

// ownCtx is a context of one's own as Fiber's documentation has it.
type ownCtx struct{ fiber.DefaultCtx }

// pointing cannot be run again.
type pointing struct{ *fiber.DefaultCtx }

func TestRolledBackTransactionIsRunAgain(t *testing.T) {
	t.Parallel()
	apps := map[string]*fiber.App{
		"usual": fiber.New(),
		"own":   fiber.NewWithCustomCtx(func(app *fiber.App) fiber.CustomCtx { return &ownCtx{*fiber.NewDefaultCtx(app)} }),
	}
	for name, app := range apps {
		t.Run(name, func(t *testing.T) {
			store := &rollsBack{new(oncemem.Store), 2}
			s := &site{t: t, app: app}
			var seen []string
			s.serve(func(c fiber.Ctx) error {
				seen = append(seen, fmt.Sprint(c.GetRespHeader("X-Outside"), c.GetRespHeader("X-Run"), c.Response().StatusCode(), string(c.Response().Body())))
				c.Set("X-Run", "1")
				c.Status(201).SendString(c.Params("id") + string(c.Body()))
				if store.times == 1 {
					return errors.New("rolled back as well")
				}
				return nil
			}, func(c fiber.Ctx) error { c.Set("X-Outside", "1"); return c.Next() },
				guardedBy(t, oncehttp.Config{Keep: oncehttp.KeepAll, Guard: newGuard(t, once.Config{Store: store})}),
				func(c fiber.Ctx) error { return c.Next() })
			a := s.post("/things/7", "k", "hello")
			if a.status != 201 || a.body != "7hello" || a.header.Get("X-Outside") != "1" {
				t.Errorf("got %+v", a)
			}
			if want := []string{"1200", "1200", "1200"}; !slices.Equal(seen, want) {
				t.Errorf("the runs found %q", seen)
			}
			s.wantRuns(3)
			store.times = 1000
			if a := s.post("/things/7", "k2", "hello"); a.status != 503 || a.problem() != "rolled-back" {
				t.Errorf("got %+v", a)
			}
			s.wantRuns(3 + 11)
		})
	}
}

func TestContextThatCannotBeGivenBackIsNotRunAgain(t *testing.T) {
	t.Parallel()
	store := &rollsBack{new(oncemem.Store), 1}
	s := &site{t: t, app: fiber.NewWithCustomCtx(func(app *fiber.App) fiber.CustomCtx { return &pointing{fiber.NewDefaultCtx(app)} })}
	s.serve(created, guardedBy(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}))
	if a := s.post("/things/7", "k", ""); a.status != 503 || !strings.Contains(a.body, "same key") || a.header.Get("Location") != "" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
	if a := s.post("/things/7", "k", ""); a.status != 201 || a.body != "thing 7" {
		t.Errorf("got %+v", a)
	}
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

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	h, err := oncefiber.New(oncehttp.Config{})
	if h != nil || err == nil || !strings.Contains(err.Error(), "Guard") || !strings.Contains(err.Error(), "Scope") {
		t.Errorf("got %v", err)
	}
}
