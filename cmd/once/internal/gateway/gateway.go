// Package gateway guards an HTTP service from the outside: a reverse proxy whose forwarding handler
// is wrapped by oncehttp. What it adds to that is a front that no request gets through which
// could be read in two ways, and exact knowledge of whether the service saw a request.
package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/config"
	"github.com/oncehq/once/cmd/once/internal/scope"
	"github.com/oncehq/once/cmd/once/internal/upstream"
)

// A Gateway is an [http.Handler] that guards one service. Make it with [New].
type Gateway struct {
	cfg       *config.Config
	store     once.Store
	log       *slog.Logger
	scope     scope.Func
	front     *front
	mux       *http.ServeMux
	other     *route // of requests that no pattern matches
	forwarder *forwarder
	rest      http.Handler // for requests that are not guarded
	client    *upstream.Client
	transport *http.Transport
	running   atomic.Int64 // guarded requests
	draining  atomic.Bool

	keepPrincipal bool // to find the scope costs more than to hand it on
}

// New returns a gateway over the store, or everything that is wrong with cfg. ctx ends what it does
// in the background. Close must be called when it is no longer needed; the store stays open.
func New(ctx context.Context, cfg *config.Config, store once.Store, secret []byte, log *slog.Logger) (*Gateway, error) {
	g := &Gateway{cfg: cfg, store: store, log: log}
	trust, err := trusted(cfg.Upstream.CA)
	if err != nil {
		return nil, err
	}
	if g.scope, err = scope.New(ctx, scope.Config{Spec: cfg.Scope, JWT: cfg.JWT, Secret: secret, Log: log}); err != nil {
		return nil, err
	}
	g.keepPrincipal = cfg.Scope.Kind == "basic" || cfg.Scope.Kind == "jwt"
	u := cfg.Upstream
	g.client, err = upstream.New(upstream.Config{URL: u.URL, TLS: trust, Connect: u.Connect, Idle: u.Idle,
		MaxIdle: maxIdle, Retries: u.Retries})
	if err != nil {
		return nil, err
	}
	fields := []string{cfg.Scope.Field()}
	for _, p := range cfg.Policies() {
		if p.KeyFrom.Kind == "header" {
			fields = append(fields, p.KeyFrom.Name)
		}
	}
	g.front = newFront(fields...)
	scheme := "http"
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	proxy, transport := newProxy(u, scheme, trust, log)
	g.transport = transport
	g.rest = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil // or net/http would guess one where the service sends none
		proxy.ServeHTTP(w, r)
	})
	g.forwarder = &forwarder{client: g.client, host: u.Host, scheme: scheme, timeout: u.Timeout, rest: g.rest, log: log,
		buffers: &sync.Pool{New: func() any { return new(bytes.Buffer) }}}
	if err := g.buildRoutes(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// CheckTrust reports whether a policy promises more than the store can keep. [New] would fail too, but
// not say what to do.
func CheckTrust(cfg *config.Config, store once.Store) error {
	weakness := "what its author has not said"
	if gu, ok := store.(once.Guarantor); ok {
		weakness = gu.Guarantees().Weakness()
	}
	if weakness == "" || cfg.DangerouslyTrustStore {
		return nil
	}
	for _, p := range cfg.Policies() {
		if p.InDoubt == once.Hold && p.Key != config.KeyOff {
			return fmt.Errorf("in-doubt hold promises that an operation happens at most once, but a claim in this store may not survive %s; "+
				"use --store disk:PATH, or --in-doubt rerun, or break the promise with --dangerously-trust-store", weakness)
		}
	}
	return nil
}

// trusted returns how to verify the service's certificate.
func trusted(file string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("upstream-ca: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("upstream-ca: the file has no certificate in PEM")
	}
	return cfg, nil
}

// Close breaks the connections to the service; operations under way are in doubt.
func (g *Gateway) Close() {
	g.client.Close()
	g.transport.CloseIdleConnections()
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if wrong := g.front.check(r); wrong != "" {
		instance := writeProblem(w, problemRequest, http.StatusBadRequest, "The request is refused", wrong)
		g.log.LogAttrs(r.Context(), slog.LevelDebug, "request refused", slog.String("instance", instance), slog.String("reason", wrong))
		return
	}
	rt := g.route(r)
	if !rt.guards(r) {
		g.rest.ServeHTTP(w, r)
		return
	}
	if r = g.identify(w, r); r == nil {
		return
	}
	g.running.Add(1)
	defer g.running.Add(-1)
	rt.guarded.ServeHTTP(w, r)
}
