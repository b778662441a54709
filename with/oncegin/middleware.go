package oncegin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/oncehq/once/oncehttp"
)

// New returns a middleware for routers, groups and single routes, or everything that is wrong with
// cfg.
func New(cfg oncehttp.Config) (gin.HandlerFunc, error) {
	m, err := oncehttp.New(cfg)
	if err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	guarded := m.Wrap(http.HandlerFunc(run))
	return func(c *gin.Context) {
		x := &exchange{Context: c.Request.Context(), c: c, log: log}
		x.client.ResponseWriter = c.Writer
		guarded.ServeHTTP(&x.client, c.Request.WithContext(x))
		if x.kept == nil && !x.passed {
			c.Abort() // it was answered without the handlers
		}
		if !x.passed && !x.open {
			// Gin would let others change the status as long as there is no body.
			c.Writer.WriteHeaderNow()
		}
	}, nil
}

var errForeign = errors.New("oncegin: the request did not come through this package; " +
	"register the middleware with gin")

// From returns the gin.Context to which a request belongs that a function of [oncehttp.Config]
// is given. It reports false for one that did not come through a middleware of this package.
func From(r *http.Request) (*gin.Context, bool) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, false
	}
	return x.c, true
}

// Scope returns a function for [oncehttp.Config.Scope] that asks f, which finds what authentication
// has put in the context. An error or an empty string refuses the request.
func Scope(f func(*gin.Context) (string, error)) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		c, ok := From(r)
		if !ok {
			return "", errForeign
		}
		return f(c)
	}
}

// Route is for [oncehttp.Config.Route]: the template of the route, such as "/charges/:id", as long
// as it stays the same from one release to the next. Then a key belongs to the template, and is
// refused for another path that matches it. For requests that no route matches it is the path.
func Route(r *http.Request) string {
	if c, ok := From(r); ok && c.FullPath() != "" {
		return c.FullPath()
	}
	return r.URL.EscapedPath()
}

// An exchange is one request on its way through the middleware. It is the context of the request
// that package oncehttp sees, with itself as a value.
type exchange struct {
	context.Context
	c      *gin.Context
	log    *slog.Logger
	client client

	kept   *state // before the handlers were run; nil: they were not
	passed bool   // they were run without a guard
	open   bool   // they have not answered
}

type exchangeKey struct{}

func (x *exchange) Value(key any) any {
	if _, ok := key.(exchangeKey); ok {
		return x
	}
	return x.Context.Value(key)
}

// run is what package oncehttp guards: the handlers that come after the middleware.
func run(w http.ResponseWriter, r *http.Request) {
	x := r.Context().Value(exchangeKey{}).(*exchange)
	if w == http.ResponseWriter(&x.client) {
		x.pass(r)
		return
	}
	x.run(w, r)
}

func (x *exchange) pass(r *http.Request) {
	x.passed = true
	defer x.restore(x.c.Writer, x.c.Request)
	x.c.Request = r
	x.c.Next()
}

func (x *exchange) restore(w gin.ResponseWriter, r *http.Request) {
	x.c.Writer, x.c.Request = w, r
}

func (x *exchange) run(w http.ResponseWriter, r *http.Request) {
	c := x.c
	if x.kept == nil {
		x.kept = keep(c)
	} else {
		x.kept.restore(c)
	}
	defer x.restore(c.Writer, c.Request)
	initial, before := c.Writer.Status(), len(c.Errors)
	held := &writer{ResponseWriter: w, status: initial, size: unwritten}
	c.Writer, c.Request = held, r
	c.Next()
	x.open = !held.Written() && x.isOpen(held, r, initial, before)
	if !x.open {
		held.WriteHeaderNow()
	}
}

// isOpen reports whether handlers that wrote nothing have left the response to something outside.
// What that will be nobody knows yet, so it cannot be recorded.
func (x *exchange) isOpen(held *writer, r *http.Request, initial, before int) bool {
	c := x.c
	switch {
	case len(c.Errors) > before:
		oncehttp.InDoubt(r.Context())
		x.log.WarnContext(r.Context(), "oncegin: a handler left an error and no response; "+
			"register what answers errors after this middleware, or retries may be run", "route", c.FullPath())
		x.client.ResponseWriter.WriteHeader(held.status) // for who answers
		return true
	case c.FullPath() == "" && held.status == initial:
		oncehttp.NoEffect(r.Context()) // no route matches, and gin will say so
		return true
	}
	return false
}
