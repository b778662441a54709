package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/config"
	"github.com/oncehq/once/cmd/once/internal/scope"
	"github.com/oncehq/once/oncehttp"
)

// A route is a policy at work.
type route struct {
	methods  []string // that are guarded; none: nothing is
	required bool     // a request without a key is refused
	field    string   // where the key is; empty: not in the header
	guarded  http.Handler
}

// ServeHTTP makes a route what a ServeMux can hold. It is never called.
func (*route) ServeHTTP(http.ResponseWriter, *http.Request) {
	panic("gateway: route served by the mux")
}

// guards reports whether the request is an operation. Only then must it be known whose it is.
func (rt *route) guards(r *http.Request) bool {
	return slices.Contains(rt.methods, r.Method) &&
		(rt.required || rt.field == "" || len(r.Header[rt.field]) > 0)
}

// newRoute builds what a policy asks for. methods are those of its pattern.
func (g *Gateway) newRoute(p *config.Policy, methods []string) (*route, error) {
	if p.Key == config.KeyOff {
		return &route{}, nil
	}
	guard, err := once.New(once.Config{
		Store:                 g.store,
		InDoubt:               p.InDoubt,
		Lease:                 p.Lease,
		Retention:             p.Retention,
		Wait:                  p.Wait,
		MaxAttempts:           p.MaxAttempts,
		Observe:               observer(g.log),
		DangerouslyTrustStore: g.cfg.DangerouslyTrustStore,
	})
	if err != nil {
		return nil, err
	}
	rt := &route{methods: methods, required: p.Key == config.KeyRequired}
	cfg := oncehttp.Config{
		Guard:           guard,
		Scope:           g.principal(),
		Methods:         methods,
		Required:        rt.required,
		Strict:          p.Strict,
		MaxRequestBody:  p.RequestBody,
		MaxResponseBody: p.ResponseBody,
		Keep:            keep(p.Keep),
		Logger:          g.log,
	}
	switch p.KeyFrom.Kind {
	case "header":
		rt.field = p.KeyFrom.Name
		if rt.field != keyField {
			cfg.KeyFrom = oncehttp.FromHeader(rt.field)
		}
	case "json":
		cfg.KeyFrom = oncehttp.FromJSON(p.KeyFrom.Name)
	case "payload":
		cfg.KeyFrom = oncehttp.FromPayload()
	}
	m, err := oncehttp.New(cfg)
	if err != nil {
		return nil, err
	}
	fw := *g.forwarder
	fw.limit = p.ResponseBody
	rt.guarded = m.Wrap(&fw)
	return rt, nil
}

func keep(k config.Keep) func(int) oncehttp.Decision {
	switch k {
	case config.KeepAll:
		return oncehttp.KeepAll
	case config.KeepSuccess:
		return oncehttp.KeepSuccess
	}
	return oncehttp.KeepFinal
}

// buildRoutes makes the routes of the configuration and the one for all other requests.
func (g *Gateway) buildRoutes() error {
	var errs []error
	g.mux = http.NewServeMux()
	for i := range g.cfg.Routes {
		r := &g.cfg.Routes[i]
		methods := g.cfg.Methods
		if method, _, ok := strings.Cut(r.Match, " "); ok {
			methods = []string{method}
		}
		rt, err := g.newRoute(&r.Policy, methods)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Origin, err))
			continue
		}
		g.mux.Handle(r.Match, rt)
	}
	var err error
	if g.other, err = g.newRoute(&g.cfg.Policy, g.cfg.Methods); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// route finds the request's route. The mux is only asked which pattern matches: what it would
// answer itself, such as a redirect to a path with a slash behind, is for the service to say.
func (g *Gateway) route(r *http.Request) *route {
	if len(g.cfg.Routes) > 0 {
		h, _ := g.mux.Handler(r)
		if rt, ok := h.(*route); ok {
			return rt
		}
	}
	return g.other
}

type principalKey struct{}

// principal returns the function by which the middleware finds the scope. It is found before, to
// answer as the way of authentication demands, and kept if that was work.
func (g *Gateway) principal() func(*http.Request) (string, error) {
	if !g.keepPrincipal {
		return g.scope
	}
	return func(r *http.Request) (string, error) {
		p, _ := r.Context().Value(principalKey{}).(string)
		return p, nil
	}
}

// identify finds out whose the request is. It returns nil if it has answered the request.
func (g *Gateway) identify(w http.ResponseWriter, r *http.Request) *http.Request {
	p, err := g.scope(r)
	if err == nil {
		if g.keepPrincipal {
			return r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
		}
		return r
	}
	status, detail := http.StatusForbidden, ""
	if se, ok := errors.AsType[*scope.Error](err); ok {
		status, detail = se.Status, se.Detail
		if se.Challenge != "" {
			w.Header().Set("Www-Authenticate", se.Challenge)
		}
	}
	instance := writeProblem(w, problemCaller, status, "It cannot be told whose request it is", detail)
	g.log.LogAttrs(r.Context(), slog.LevelDebug, "request without a scope", slog.String("instance", instance), slog.Any("error", err))
	return nil
}
