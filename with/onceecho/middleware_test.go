package onceecho_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/onceecho"
)

func created(c *echo.Context) error {
	c.Response().Header().Set("Location", "/things/"+c.Param("id"))
	return c.String(201, "thing "+c.Param("id"))
}

func TestOperationHappensOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, created, guardedBy(t, oncehttp.Config{}))
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
	s := newSite(t, created, guardedBy(t, oncehttp.Config{Required: true}))
	if a := s.post("/things/7", "", "{}"); a.problem() != "key-missing" || a.status != 400 {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(0)
}

func TestUnguardedErrorsAreLeftToEcho(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(*echo.Context) error { return echo.NewHTTPError(422, "no such thing") }, guardedBy(t, oncehttp.Config{}))
	var handled int
	handler := s.echo.HTTPErrorHandler
	s.echo.HTTPErrorHandler = func(c *echo.Context, err error) { handled++; handler(c, err) }
	if a := s.post("/things/7", "", ""); a.status != 422 || handled != 1 {
		t.Errorf("got %+v, handled %d times", a, handled)
	}
}

func TestHandlerFindsItsAttempt(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *echo.Context) error {
		a, ok := once.FromContext(c.Request().Context())
		if !ok || a.Key().ID != "k" || !oncehttp.Final(c.Request().Context()) {
			t.Error("no attempt")
		}
		return c.String(503, "final all the same")
	}, guardedBy(t, oncehttp.Config{}))
	s.post("/things/7", "k", "")
	if a := s.post("/things/7", "k", ""); a.status != 503 || !a.replayed() {
		t.Errorf("got %+v", a)
	}
}

func TestScopeAndRouteAreThoseOfTheContext(t *testing.T) {
	t.Parallel()
	var scopes []string
	guarded := guardedBy(t, oncehttp.Config{
		Scope: onceecho.Scope(func(c *echo.Context) (string, error) {
			user, _ := c.Get("user").(string)
			return user, nil
		}),
		Route: onceecho.Route,
	})
	authenticate := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			if c.Param("id") != "0" {
				c.Set("user", "bob")
			}
			return next(c)
		}
	}
	s := newSite(t, func(c *echo.Context) error {
		a, _ := once.FromContext(c.Request().Context())
		scopes = append(scopes, a.Key().Scope)
		return nil
	}, authenticate, guarded)
	s.post("/things/7", "k", "")
	if want := oncehttp.OperationScope("POST", "/things/:id", "bob"); len(scopes) != 1 || scopes[0] != want {
		t.Errorf("scopes are %q, want %q", scopes, want)
	}
	if a := s.post("/things/8", "k", ""); a.problem() != "key-reused" {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/0", "k2", ""); a.problem() != "scope-refused" {
		t.Errorf("got %+v", a)
	}
	if _, ok := onceecho.From(httptest.NewRequest("POST", "/", nil)); ok {
		t.Error("a request from elsewhere has a context")
	}
	if _, err := onceecho.Scope(nil)(httptest.NewRequest("POST", "/", nil)); err == nil {
		t.Error("a request from elsewhere has a scope")
	}
	if r := onceecho.Route(httptest.NewRequest("POST", "/a%2Fb", nil)); r != "/a%2Fb" {
		t.Errorf("route of a request from elsewhere is %q", r)
	}
}

// The error is answered before the response is recorded, and told to what is outside.
func TestErrorOfTheHandlerIsTheOutcome(t *testing.T) {
	t.Parallel()
	var told []error
	tell := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := next(c)
			told = append(told, err)
			return err
		}
	}
	failure := echo.NewHTTPError(422, "no such thing")
	s := newSite(t, func(*echo.Context) error { return failure }, tell, guardedBy(t, oncehttp.Config{}))
	// This one does not look if the response is committed.
	s.echo.HTTPErrorHandler = func(c *echo.Context, err error) { c.String(echo.StatusCode(err), "refused; ") }
	first, second := s.post("/things/7", "k", ""), s.post("/things/7", "k", "")
	if first.status != 422 || first.body != "refused; " {
		t.Errorf("got %+v", first)
	}
	if second.status != 422 || second.body != first.body || !second.replayed() {
		t.Errorf("got %+v", second)
	}
	if len(told) != 2 || told[0] != error(failure) || told[1] != nil {
		t.Errorf("told %v", told)
	}
	s.wantRuns(1)
}

func TestErrorThatNobodyAnswersLeavesTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	outside := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			if err := next(c); err != nil {
				return c.String(418, "answered outside")
			}
			return nil
		}
	}
	s := newSite(t, func(*echo.Context) error { return errors.New("oops") }, outside, guardedBy(t, oncehttp.Config{}))
	s.echo.HTTPErrorHandler = func(*echo.Context, error) {}
	if a := s.post("/things/7", "k", ""); a.status != 418 || a.body != "answered outside" {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/7", "k", ""); a.problem() != "in-doubt" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
}

func TestPanicLeavesTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	recovery, guarded := middleware.Recover(), guardedBy(t, oncehttp.Config{})
	for name, order := range map[string][]echo.MiddlewareFunc{
		"recovered outside": {recovery, guarded},
		"recovered inside":  {guarded, recovery},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(c *echo.Context) error {
				c.Response().Header().Set("X-Half", "done")
				panic("oops")
			}, order...)
			if a := s.post("/things/7", `"`+name+`"`, ""); a.status != 500 || strings.Contains(a.body, "oops") {
				t.Errorf("got %+v", a)
			}
			if a := s.post("/things/7", `"`+name+`"`, ""); a.problem() != "in-doubt" {
				t.Errorf("got %+v", a)
			}
			s.wantRuns(1)
		})
	}
}

// What others do after the middleware changes neither the response nor the record of it.
func TestAnsweredResponseCannotBeChangedOutside(t *testing.T) {
	t.Parallel()
	change := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := next(c)
			if r, unwrapErr := echo.UnwrapResponse(c.Response()); unwrapErr != nil || !r.Committed {
				return c.String(500, "changed")
			}
			return err
		}
	}
	for name, handler := range map[string]echo.HandlerFunc{
		"nothing said": func(*echo.Context) error { return nil },
		"status":       func(c *echo.Context) error { return c.NoContent(200) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, handler, change, guardedBy(t, oncehttp.Config{}))
			for range 2 {
				if a := s.post("/things/7", "k", ""); a.status != 200 || a.body != "" {
					t.Errorf("got %+v", a)
				}
			}
		})
	}
}

func TestGuardedTwiceIsGuarded(t *testing.T) {
	t.Parallel()
	g := newGuard(t, once.Config{})
	s := newSite(t, created, guardedBy(t, oncehttp.Config{Guard: g}), guardedBy(t, oncehttp.Config{Guard: g}))
	s.post("/things/7", "k", "")
	if a := s.post("/things/7", "k", ""); a.status != 201 || !a.replayed() || a.body != "thing 7" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
}

func TestLargeResponseIsSentOnce(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 100_000)
	s := newSite(t, func(c *echo.Context) error {
		if _, _, err := http.NewResponseController(c.Response()).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("hijacked: %v", err)
		}
		err := c.String(200, text)
		c.Response().(http.Flusher).Flush()
		return err
	}, guardedBy(t, oncehttp.Config{MaxResponseBody: 1000}))
	if a := s.post("/things/7", "k", ""); a.status != 200 || a.body != text {
		t.Errorf("got %d, %d bytes", a.status, len(a.body))
	}
	if a := s.post("/things/7", "k", ""); a.status != 410 || a.problem() != "response-not-kept" {
		t.Errorf("got %+v", a)
	}
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

func TestRolledBackTransactionIsRunAgain(t *testing.T) {
	t.Parallel()
	store := &rollsBack{new(oncemem.Store), 2}
	s := newSite(t, func(c *echo.Context) error {
		if left := c.Response().Header().Get("X-Run"); left != "" {
			t.Error("a run finds the header of another")
		}
		c.Response().Header().Set("X-Run", "1")
		b, _ := io.ReadAll(c.Request().Body)
		if store.times == 1 {
			return c.String(422, "rolled back as well")
		}
		return c.String(201, c.Param("id")+string(b))
	}, guardedBy(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}))
	if a := s.post("/things/7", "k", "hello"); a.status != 201 || a.body != "7hello" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(3)
	store.times = 1000
	if a := s.post("/things/7", "k2", "hello"); a.status != 503 || a.problem() != "rolled-back" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(3 + 11)
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	h, err := onceecho.New(oncehttp.Config{})
	if h != nil || err == nil || !strings.Contains(err.Error(), "Guard") || !strings.Contains(err.Error(), "Scope") {
		t.Errorf("got %v", err)
	}
}
