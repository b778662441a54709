package onceecho_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/oncehq/once/oncehttp"
)

// wireHandlers are handlers whose responses must look the same with and without the middleware.
var wireHandlers = []struct {
	name    string
	handler echo.HandlerFunc
}{
	{"nothing", func(*echo.Context) error { return nil }},
	{"status alone", func(c *echo.Context) error { return c.NoContent(201) }},
	{"status twice", func(c *echo.Context) error { c.NoContent(201); return c.NoContent(202) }},
	{"json", func(c *echo.Context) error {
		return c.JSON(201, map[string]string{"id": c.Param("id"), "q": c.QueryParam("q")})
	}},
	{"body of the request", func(c *echo.Context) error {
		b, err := io.ReadAll(c.Request().Body)
		return c.String(200, fmt.Sprint(string(b), err))
	}},
	{"binary", func(c *echo.Context) error { return c.Blob(200, "image/png", []byte{0, 1, 255, '\r', '\n'}) }},
	{"no content", func(c *echo.Context) error { return c.NoContent(204) }},
	{"cookies", func(c *echo.Context) error {
		c.SetCookie(&http.Cookie{Name: "a", Value: "1"})
		c.SetCookie(&http.Cookie{Name: "b", Value: "2, 3"})
		return c.String(200, "baked")
	}},
	{"redirect", func(c *echo.Context) error { return c.Redirect(303, "/things/7") }},
	{"error", func(*echo.Context) error { return errors.New("secret") }},
	{"http error", func(*echo.Context) error { return echo.NewHTTPError(422, "no such thing") }},
	{"error of the router", func(*echo.Context) error { return echo.ErrNotFound }},
	{"json that cannot be encoded", func(c *echo.Context) error { return c.JSON(201, make(chan int)) }},
	{"error after the response", func(c *echo.Context) error {
		c.String(201, "made")
		return errors.New("too late")
	}},
	{"unavailable", func(c *echo.Context) error { return echo.NewHTTPError(503, "busy") }},
	{"many writes", func(c *echo.Context) error {
		for i := range 3000 {
			fmt.Fprintf(c.Response(), "line %d\n", i)
		}
		return nil
	}},
	{"html", func(c *echo.Context) error { return c.HTML(200, "<p>") }},
	{"copy", func(c *echo.Context) error {
		_, err := io.Copy(c.Response(), bytes.NewReader(make([]byte, 10000)))
		return err
	}},
	{"stream", func(c *echo.Context) error {
		return c.Stream(200, "text/plain", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 70000))})
	}},
	{"flush", func(c *echo.Context) error {
		rc := http.NewResponseController(c.Response())
		c.Response().Write([]byte("a"))
		if err := rc.Flush(); err != nil {
			return err
		}
		c.Response().Write([]byte("b"))
		return nil
	}},
	{"flush first", func(c *echo.Context) error {
		c.Response().(http.Flusher).Flush()
		c.Response().Write([]byte("late"))
		return nil
	}},
	{"header after the status", func(c *echo.Context) error {
		c.Response().Header().Set("X-A", "1")
		c.Response().WriteHeader(202)
		c.Response().Header().Set("X-A", "2")
		c.Response().Header().Set("X-B", "2")
		c.Response().Write([]byte("accepted"))
		return nil
	}},
	{"trailers", func(c *echo.Context) error {
		c.Response().Header().Set("Trailer", "X-Sum")
		c.String(200, "hello")
		c.Response().Header().Set("X-Sum", "abc")
		return nil
	}},
	{"hook before", func(c *echo.Context) error {
		r, err := echo.UnwrapResponse(c.Response())
		if err != nil {
			return err
		}
		r.Before(func() { r.Header().Set("X-Before", fmt.Sprint(r.Status)) })
		return c.String(201, "hooked")
	}},
	{"informational", func(c *echo.Context) error {
		c.Response().Header().Set("Link", "</a.css>; rel=preload")
		c.Response().(*echo.Response).Unwrap().WriteHeader(103)
		return c.String(200, "after hints")
	}},
	{"file", func(c *echo.Context) error { return c.File("doc.go") }},
}

func TestFirstResponseIsTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{})
	for _, h := range wireHandlers {
		t.Run(h.name, func(t *testing.T) {
			want := newSite(t, h.handler).raw(h.name)
			if got := newSite(t, h.handler, guarded).raw(h.name); got != want {
				t.Errorf("with the middleware:\n%.1000q\nwithout:\n%.1000q", got, want)
			}
		})
	}
}

// Outside of the middleware the context tells of the response, whoever made it.
func TestMiddlewareOutsideSeesTheResponse(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{Keep: oncehttp.KeepAll})
	seen := make(chan string, 3)
	look := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			before, request := c.Response(), c.Request()
			err := next(c)
			r, status := echo.ResolveResponseStatus(c.Response(), err)
			seen <- fmt.Sprint(status, r.Size)
			if r != before || c.Request() != request {
				t.Error("the context is not given back")
			}
			return err
		}
	}
	// answer calls the error handler where the middleware does.
	answer := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := next(c)
			if err != nil {
				c.Echo().HTTPErrorHandler(c, err)
			}
			return err
		}
	}
	for _, h := range wireHandlers {
		t.Run(h.name, func(t *testing.T) {
			newSite(t, h.handler, look, answer).raw(h.name)
			s := newSite(t, h.handler, look, guarded)
			s.raw(h.name)
			s.raw(h.name)
			s.wantRuns(1)
			if a, b, c := <-seen, <-seen, <-seen; b != a || c != a {
				t.Errorf("bare, guarded and replayed: %q, %q, %q", a, b, c)
			}
		})
	}
}
