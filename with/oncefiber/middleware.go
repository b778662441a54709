package oncefiber

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v3"

	"github.com/oncehq/once/oncehttp"
)

// New returns a middleware for apps, groups and single routes, or everything that is wrong with cfg.
// The functions in cfg are shown the request as one of net/http; [From] leads back to Fiber's.
func New(cfg oncehttp.Config) (fiber.Handler, error) {
	if keyFrom := cfg.KeyFrom; keyFrom != nil {
		cfg.KeyFrom = func(r *http.Request, body []byte) (string, error) {
			id, err := keyFrom(r, body)
			return strings.Clone(id), err // it may be one of those that Fiber uses again
		}
	}
	m, err := oncehttp.New(cfg)
	if err != nil {
		return nil, err
	}
	most := cfg.MaxResponseBody
	if most == 0 {
		most = oncehttp.DefaultMaxResponseBody
	}
	headers := append([]string(nil), cfg.Headers...)
	if len(headers) == 0 {
		headers = []string{oncehttp.DefaultHeader}
	}
	keyless := cfg.KeyFrom == nil && !cfg.Required // requests without a key pass
	guarded := m.Wrap(http.HandlerFunc(run))
	return func(c fiber.Ctx) error {
		if keyless && !c.App().Config().DisableHeaderNormalizing && !hasAny(c, headers) {
			return c.Next()
		}
		x := &exchange{Context: c.Context(), c: c, most: most}
		r, err := x.request()
		if err != nil {
			return fiber.ErrBadRequest
		}
		x.client.response, x.client.header = c.Response(), make(http.Header)
		readHeader(x.client.header, c)
		guarded.ServeHTTP(&x.client, r)
		return x.err
	}, nil
}

func hasAny(c fiber.Ctx, headers []string) bool {
	for _, name := range headers {
		if len(c.Request().Header.PeekAll(name)) > 0 {
			return true
		}
	}
	return false
}

// From returns the fiber.Ctx to which a request belongs that a function of [oncehttp.Config] is
// given. It reports false for one that did not come through a middleware of this package.
func From(r *http.Request) (fiber.Ctx, bool) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, false
	}
	return x.c, true
}

var errForeign = errors.New("oncefiber: the request did not come through this package; " +
	"register the middleware with Fiber")

// Scope returns a function for [oncehttp.Config.Scope] that asks f, which finds what authentication
// has put in the context. An error or an empty string refuses the request. The string may be one
// of those that Fiber uses again.
func Scope(f func(fiber.Ctx) (string, error)) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		c, ok := From(r)
		if !ok {
			return "", errForeign
		}
		principal, err := f(c)
		return strings.Clone(principal), err
	}
}

// An exchange is one request on its way through the middleware. It is the context of the request
// that package oncehttp sees, with itself as a value.
type exchange struct {
	context.Context
	c      fiber.Ctx
	most   int64 // the largest body that is recorded
	client client

	kept *state // before the handlers were run; nil: they were not
	err  error  // of handlers that were run without a guard
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
	x.giveBody(r)
	if w == http.ResponseWriter(&x.client) { // unguarded
		x.err = x.c.Next()
		return
	}
	x.run(w, r)
}

func (x *exchange) run(w http.ResponseWriter, r *http.Request) {
	c := x.c
	again := x.kept != nil
	if !again {
		x.kept = keep(c)
	} else {
		writeHeader(c.Response(), x.client.header)
		if !x.kept.restore(c) {
			oncehttp.NoEffect(r.Context())
			x.answer(errAgain)
			x.show(w, r)
			return
		}
	}
	before := c.Context()
	c.SetContext(r.Context())
	defer c.SetContext(before)
	if err := c.Next(); err != nil {
		x.answer(err)
	}
	if err := x.gather(); err != nil {
		oncehttp.InDoubt(r.Context())
		x.answer(err)
	}
	x.show(w, r)
}

var errAgain = fiber.NewError(fiber.StatusServiceUnavailable, "Rolled back. Try again with the same key.")

// answer makes a response out of an error, as Fiber does at the end of the chain.
func (x *exchange) answer(err error) {
	if x.c.App().ErrorHandler(x.c, err) != nil {
		x.c.SendStatus(fiber.StatusInternalServerError)
	}
}
