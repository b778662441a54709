package transcript_test

import (
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/labstack/echo/v5"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/transcript"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/onceecho"
	"github.com/oncehq/once/with/oncefiber"
	"github.com/oncehq/once/with/oncegin"
)

// doors are all that a transcript is played at. Each returns the service behind a door with the
// settings.
var doors = []struct {
	name string
	open func(*testing.T, map[string]string, *service) transcript.Door
}{
	{"oncehttp", overHTTP(plain)},
	{"chi", overHTTP(overChi)},
	{"gin", overHTTP(overGin)},
	{"echo", overHTTP(overEcho)},
	{"fiber", overFiber},
	{"gateway", gateway},
}

// config returns what the settings mean for package oncehttp.
func config(t *testing.T, settings map[string]string) oncehttp.Config {
	t.Helper()
	guard := once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, DangerouslyTrustStore: true}
	cfg := oncehttp.Config{Scope: oncehttp.ScopeHeader("X-User"), Logger: slog.New(slog.DiscardHandler)}
	for name, value := range settings {
		n, _ := strconv.ParseInt(value, 10, 64)
		d, _ := time.ParseDuration(value)
		switch name {
		case "required":
			cfg.Required = true
		case "strict":
			cfg.Strict = true
		case "alias":
			cfg.Headers = []string{oncehttp.DefaultHeader, value}
		case "methods":
			cfg.Methods = strings.Split(value, ",")
		case "request-body":
			cfg.MaxRequestBody = n
		case "response-body":
			cfg.MaxResponseBody = n
		case "keep":
			cfg.Keep = map[string]func(int) oncehttp.Decision{
				"final": oncehttp.KeepFinal, "all": oncehttp.KeepAll, "success": oncehttp.KeepSuccess}[value]
		case "retention":
			guard.Retention = d
		case "wait":
			guard.Wait = d
		case "in-doubt":
			guard.InDoubt = map[string]once.Policy{"hold": once.Hold, "rerun": once.Rerun}[value]
		default:
			t.Fatalf("setting %s has no meaning here", name)
		}
	}
	var err error
	if cfg.Guard, err = once.New(guard); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// overHTTP serves a handler of net/http.
func overHTTP(handler func(*testing.T, oncehttp.Config, *service) http.Handler) func(*testing.T, map[string]string, *service) transcript.Door {
	return func(t *testing.T, settings map[string]string, s *service) transcript.Door {
		return s.door(t, serve(t, handler(t, config(t, settings), s)))
	}
}

// door must be called after what stops the server was registered with t: a handler that still waits
// would keep it from stopping.
func (s *service) door(t *testing.T, addr string) transcript.Door {
	t.Cleanup(func() { close(s.over) })
	return transcript.Door{Addr: addr, Running: s.running, Finish: func() { s.finish <- struct{}{} }}
}

func serve(t *testing.T, h http.Handler) (addr string) {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func newMiddleware(t *testing.T, cfg oncehttp.Config) *oncehttp.Middleware {
	t.Helper()
	m, err := oncehttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ServeHTTP is the service in the manner of net/http.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	a := s.answer(r.Method, r.URL.Path, string(body))
	for _, f := range a.fields {
		w.Header().Add(f[0], f[1])
	}
	if a.failed {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

func plain(t *testing.T, cfg oncehttp.Config, s *service) http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes() {
		mux.Handle(route[0]+" "+route[1], s)
	}
	return newMiddleware(t, cfg).Wrap(mux)
}

func overChi(t *testing.T, cfg oncehttp.Config, s *service) http.Handler {
	r := chi.NewRouter()
	r.Use(newMiddleware(t, cfg).Wrap)
	for _, route := range routes() {
		r.Method(route[0], route[1], s)
	}
	return r
}

func overGin(t *testing.T, cfg oncehttp.Config, s *service) http.Handler {
	guarded, err := oncegin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	router := gin.New()
	router.Use(guarded, func(c *gin.Context) {
		c.Next()
		if len(c.Errors) > 0 {
			c.String(c.Writer.Status(), c.Errors.Last().Error())
		}
	})
	for _, route := range routes() {
		router.Handle(route[0], route[1], func(c *gin.Context) {
			body, err := c.GetRawData()
			if err != nil {
				c.AbortWithError(400, err)
				return
			}
			a := s.answer(c.Request.Method, c.Request.URL.Path, string(body))
			for _, f := range a.fields {
				c.Writer.Header().Add(f[0], f[1])
			}
			switch c.Status(a.status); {
			case a.failed:
				c.Error(errors.New(a.body))
			case a.body != "":
				c.Writer.WriteString(a.body)
			}
		})
	}
	return router
}

func overEcho(t *testing.T, cfg oncehttp.Config, s *service) http.Handler {
	guarded, err := onceecho.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.Logger = slog.New(slog.DiscardHandler)
	e.HTTPErrorHandler = func(c *echo.Context, err error) {
		refusal, _ := errors.AsType[*echo.HTTPError](err)
		h := c.Response().Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		c.String(refusal.Code, refusal.Message)
	}
	e.Use(guarded)
	for _, route := range routes() {
		e.Add(route[0], route[1], func(c *echo.Context) error {
			body, err := io.ReadAll(c.Request().Body)
			if err != nil {
				return echo.NewHTTPError(400, err.Error())
			}
			a := s.answer(c.Request().Method, c.Request().URL.Path, string(body))
			h := c.Response().Header()
			for _, f := range a.fields {
				h.Add(f[0], f[1])
			}
			switch {
			case a.failed:
				return echo.NewHTTPError(a.status, a.body)
			case a.body == "":
				return c.NoContent(a.status)
			}
			return c.Blob(a.status, h.Get("Content-Type"), []byte(a.body))
		})
	}
	return e
}

func overFiber(t *testing.T, settings map[string]string, s *service) transcript.Door {
	guarded, err := oncefiber.New(config(t, settings))
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{ErrorHandler: func(c fiber.Ctx, err error) error {
		refusal, _ := errors.AsType[*fiber.Error](err)
		c.Set("Content-Type", "text/plain; charset=utf-8")
		return c.Status(refusal.Code).SendString(refusal.Message)
	}})
	app.Use(guarded)
	for _, route := range routes() {
		app.Add([]string{route[0]}, route[1], func(c fiber.Ctx) error {
			a := s.answer(c.Method(), c.Path(), string(c.Body()))
			for _, f := range a.fields {
				c.Response().Header.Add(f[0], f[1])
			}
			if a.failed {
				return fiber.NewError(a.status, a.body)
			}
			return c.Status(a.status).SendString(a.body)
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	door := s.door(t, l.Addr().String())
	door.Unordered = true
	return door
}
