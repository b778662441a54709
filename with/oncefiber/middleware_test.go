package oncefiber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
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

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	h, err := oncefiber.New(oncehttp.Config{})
	if h != nil || err == nil || !strings.Contains(err.Error(), "Guard") || !strings.Contains(err.Error(), "Scope") {
		t.Errorf("got %v", err)
	}
}
