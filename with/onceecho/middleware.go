package onceecho

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/oncehq/once/oncehttp"
)

// New returns a middleware for servers, groups and single routes, or everything that is wrong with
// cfg.
func New(cfg oncehttp.Config) (echo.MiddlewareFunc, error) {
	m, err := oncehttp.New(cfg)
	if err != nil {
		return nil, err
	}
	guarded := m.Wrap(http.HandlerFunc(run))
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			x := &exchange{Context: c.Request().Context(), c: c, next: next}
			x.client.ResponseWriter = c.Response()
			guarded.ServeHTTP(&x.client, c.Request().WithContext(x))
			return x.end()
		}
	}, nil
}

// From returns the echo.Context to which a request belongs that a function of [oncehttp.Config]
// is given. It reports false for one that did not come through a middleware of this package.
func From(r *http.Request) (*echo.Context, bool) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, false
	}
	return x.c, true
}

var errForeign = errors.New("onceecho: the request did not come through this package; " +
	"register the middleware with Echo")

// Scope returns a function for [oncehttp.Config.Scope] that asks f, which finds what authentication
// has put in the context. An error or an empty string refuses the request.
func Scope(f func(*echo.Context) (string, error)) func(*http.Request) (string, error) {
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
	if c, ok := From(r); ok && c.Path() != "" {
		return c.Path()
	}
	return r.URL.EscapedPath()
}

// An exchange is one request on its way through the middleware. It is the context of the request
// that package oncehttp sees, with itself as a value.
type exchange struct {
	context.Context
	c      *echo.Context
	next   echo.HandlerFunc
	client client

	err     error // of the last run of the handlers
	guarded bool  // it was, and the response was held back
	open    bool  // it has not answered
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
	c := x.c
	defer func(w http.ResponseWriter, r *http.Request) {
		c.SetResponse(w)
		c.SetRequest(r)
	}(c.Response(), c.Request())
	c.SetRequest(r)
	if w == http.ResponseWriter(&x.client) { // unguarded
		x.err = x.next(c)
		return
	}
	x.guarded = true
	held := echo.NewResponse(w, c.Logger())
	held.Status = http.StatusOK // as Echo has it
	c.SetResponse(held)
	x.err = x.next(c)
	if x.err != nil && !held.Committed {
		c.Echo().HTTPErrorHandler(c, x.err)
	}
	if x.open = x.err != nil && !held.Committed; x.open {
		oncehttp.InDoubt(r.Context()) // nobody knows yet what the response will be
	}
}

// end returns the error of the handlers. What was recorded as the response stays that.
func (x *exchange) end() error {
	if !x.guarded || x.open {
		return x.err
	}
	w := x.c.Response()
	if r, err := echo.UnwrapResponse(w); err == nil && !r.Committed {
		w.WriteHeader(http.StatusOK) // the handlers said nothing, which means this
	}
	if x.err != nil {
		x.c.SetResponse(&answered{w})
	}
	return x.err
}
