package oncegin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncegin"
)

func created(c *gin.Context) {
	c.Header("Location", "/things/"+c.Param("id"))
	c.JSON(201, gin.H{"id": c.Param("id")})
}

func TestOperationHappensOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, guardedBy(t, oncehttp.Config{}), created)
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

func TestHandlersAfterARefusalAreNotRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, guardedBy(t, oncehttp.Config{Required: true}), func(c *gin.Context) { c.Next() }, created)
	if a := s.post("/things/7", "", "{}"); a.problem() != "key-missing" || a.status != 400 {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(0)
}

func TestHandlerFindsItsAttempt(t *testing.T) {
	t.Parallel()
	s := newSite(t, guardedBy(t, oncehttp.Config{}), func(c *gin.Context) {
		a, ok := once.FromContext(c.Request.Context())
		if !ok || a.Key().ID != "k" || !oncehttp.Final(c.Request.Context()) {
			t.Error("no attempt")
		}
		c.JSON(503, "final all the same")
	})
	s.post("/things/7", "k", "")
	if a := s.post("/things/7", "k", ""); a.status != 503 || !a.replayed() {
		t.Errorf("got %+v", a)
	}
}

func TestScopeAndRouteAreThoseOfTheContext(t *testing.T) {
	t.Parallel()
	var scopes []string
	store := new(oncemem.Store)
	guarded := guardedBy(t, oncehttp.Config{
		Guard: newGuard(t, once.Config{Store: store}),
		Scope: oncegin.Scope(func(c *gin.Context) (string, error) {
			if c.GetString("user") == "" {
				return "", errors.New("nobody")
			}
			return c.GetString("user"), nil
		}),
		Route: oncegin.Route,
	})
	authenticate := func(c *gin.Context) {
		if c.Param("id") != "0" {
			c.Set("user", "bob")
		}
	}
	s := newSite(t, authenticate, guarded, func(c *gin.Context) {
		a, _ := once.FromContext(c.Request.Context())
		scopes = append(scopes, a.Key().Scope)
	})
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
	if _, ok := oncegin.From(httptest.NewRequest("POST", "/", nil)); ok {
		t.Error("a request from elsewhere has a context")
	}
	if _, err := oncegin.Scope(nil)(httptest.NewRequest("POST", "/", nil)); err == nil {
		t.Error("a request from elsewhere has a scope")
	}
	if r := oncegin.Route(httptest.NewRequest("POST", "/a%2Fb", nil)); r != "/a%2Fb" {
		t.Errorf("route of a request from elsewhere is %q", r)
	}
}

func renderErrors(c *gin.Context) {
	c.Next()
	if len(c.Errors) > 0 && !c.Writer.Written() {
		c.JSON(422, gin.H{"error": c.Errors.Last().Error()})
	}
}

func fails(c *gin.Context) { c.Error(errors.New("no such thing")) }

func TestErrorsRenderedInsideAreTheOutcome(t *testing.T) {
	t.Parallel()
	s := newSite(t, guardedBy(t, oncehttp.Config{}), renderErrors, fails)
	first, second := s.post("/things/7", "k", ""), s.post("/things/7", "k", "")
	if first.status != 422 || first.body != `{"error":"no such thing"}` {
		t.Errorf("got %+v", first)
	}
	if second.status != 422 || second.body != first.body || !second.replayed() {
		t.Errorf("got %+v", second)
	}
	s.wantRuns(1)
}

// A response that is made too late is sent, but nothing is recorded that was not sent.
func TestErrorsRenderedOutsideLeaveTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	guarded := guardedBy(t, oncehttp.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := newSite(t, renderErrors, guarded, fails)
	if a := s.post("/things/7", "k", ""); a.status != 422 || a.body != `{"error":"no such thing"}` {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/things/7", "k", ""); a.problem() != "in-doubt" {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
	if !strings.Contains(log.String(), "register") {
		t.Errorf("log is %q", log.String())
	}
}

func TestStatusSetBesideAnErrorReachesWhoAnswers(t *testing.T) {
	t.Parallel()
	render := func(c *gin.Context) {
		c.Next()
		c.String(-1, "status is said")
	}
	s := newSite(t, render, guardedBy(t, oncehttp.Config{}), func(c *gin.Context) { c.Status(418); fails(c) })
	if a := s.post("/things/7", "k", ""); a.status != 418 || a.body != "status is said" {
		t.Errorf("got %+v", a)
	}
}

func TestPanicLeavesTheOperationInDoubt(t *testing.T) {
	t.Parallel()
	recovery := gin.RecoveryWithWriter(io.Discard)
	for name, order := range map[string]func(gin.HandlerFunc) []gin.HandlerFunc{
		"recovered outside": func(guarded gin.HandlerFunc) []gin.HandlerFunc { return []gin.HandlerFunc{recovery, guarded} },
		"recovered inside":  func(guarded gin.HandlerFunc) []gin.HandlerFunc { return []gin.HandlerFunc{guarded, recovery} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, append(order(guardedBy(t, oncehttp.Config{})), func(c *gin.Context) {
				c.Header("X-Half", "done")
				panic("oops")
			})...)
			if a := s.post("/things/7", "k", ""); a.status != 500 || a.body != "" {
				t.Errorf("got %+v", a)
			}
			if a := s.post("/things/7", "k", ""); a.problem() != "in-doubt" {
				t.Errorf("got %+v", a)
			}
			s.wantRuns(1)
		})
	}
}

func TestRouteThatDoesNotExistIsNotRecorded(t *testing.T) {
	t.Parallel()
	store := new(oncemem.Store)
	bare, s := newSite(t, created), newSite(t, created)
	s.router.Use(guardedBy(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}))
	want, got := bare.post("/nothing", "k", ""), s.post("/nothing", "k", "")
	if got.status != 404 || got.body != want.body || got.header.Get("Content-Type") != want.header.Get("Content-Type") {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for rec, err := range store.List(t.Context(), once.Filter{}) {
		t.Errorf("recorded: %v, %v", rec, err)
	}
	s.router.NoRoute(func(c *gin.Context) { c.String(200, "caught") })
	if a := s.post("/nothing", "k", ""); a.status != 200 || a.replayed() {
		t.Errorf("got %+v", a)
	}
	if a := s.post("/nothing", "k", ""); a.status != 200 || !a.replayed() {
		t.Errorf("got %+v", a)
	}
}

// What others do after the middleware changes neither the response nor the record of it.
func TestAnsweredResponseCannotBeChangedOutside(t *testing.T) {
	t.Parallel()
	change := func(c *gin.Context) {
		c.Next()
		if !c.Writer.Written() {
			c.JSON(500, "changed")
		}
	}
	s := newSite(t, change, guardedBy(t, oncehttp.Config{}), func(c *gin.Context) { c.Status(204) })
	for range 2 {
		if a := s.post("/things/7", "k", ""); a.status != 204 || a.body != "" {
			t.Errorf("got %+v", a)
		}
	}
}

func TestGuardedTwiceIsGuarded(t *testing.T) {
	t.Parallel()
	g := newGuard(t, once.Config{})
	s := newSite(t, guardedBy(t, oncehttp.Config{Guard: g}), guardedBy(t, oncehttp.Config{Guard: g}), created)
	s.post("/things/7", "k", "")
	if a := s.post("/things/7", "k", ""); a.status != 201 || !a.replayed() || a.body != `{"id":"7"}` {
		t.Errorf("got %+v", a)
	}
	s.wantRuns(1)
}

func TestLargeResponseIsSentOnce(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 100_000)
	s := newSite(t, guardedBy(t, oncehttp.Config{MaxResponseBody: 1000}), func(c *gin.Context) {
		if _, _, err := c.Writer.Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("hijacked: %v", err)
		}
		c.String(200, text)
		c.Writer.Flush()
	})
	if a := s.post("/things/7", "k", ""); a.status != 200 || a.body != text {
		t.Errorf("got %d, %d bytes", a.status, len(a.body))
	}
	if a := s.post("/things/7", "k", ""); a.status != 410 || a.problem() != "response-not-kept" {
		t.Errorf("got %+v", a)
	}
}

// An endless stream ends when its client is gone, as it was recorded before that it is done.
func TestStreamEndsWithItsClient(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s := newSite(t, guardedBy(t, oncehttp.Config{}), func(c *gin.Context) {
		defer close(ended)
		c.Header("Content-Type", "text/event-stream")
		c.Stream(func(w io.Writer) bool {
			io.WriteString(w, "data: tick\n\n")
			return true
		})
	})
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.server.URL+"/things/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-User", "alice")
	r.Header.Set("Idempotency-Key", "k")
	res, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(res.Body, make([]byte, 100))
	res.Body.Close()
	<-ended
	if a := s.post("/things/7", "k", ""); a.status != 410 {
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
	before := func(c *gin.Context) { c.Set("kept", 1) }
	between := func(c *gin.Context) {
		if _, left := c.Get("run"); left || c.GetInt("kept") != 1 || len(c.Errors) > 0 || c.Writer.Header().Get("X-Run") != "" {
			t.Errorf("a run finds what another has left: %v, %v, %v", c.Keys, c.Errors, c.Writer.Header())
		}
		c.Next()
	}
	s := newSite(t, before, guardedBy(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}), between,
		func(c *gin.Context) {
			b, _ := c.GetRawData()
			c.Set("run", true)
			c.Header("X-Run", "1")
			c.Error(errors.New("for the log"))
			c.String(201, "%s %s %d", c.Param("id"), b, store.times)
		})
	if a := s.post("/things/7", "k", "hello"); a.status != 201 || a.body != "7 hello 0" {
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
	h, err := oncegin.New(oncehttp.Config{})
	if h != nil || err == nil || !strings.Contains(err.Error(), "Guard") || !strings.Contains(err.Error(), "Scope") {
		t.Errorf("got %v", err)
	}
}
