package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/admin"
	"github.com/oncehq/once/cmd/once/internal/config"
	"github.com/oncehq/once/cmd/once/internal/gateway"
	"github.com/oncehq/once/cmd/once/internal/scope"
	"github.com/oncehq/once/cmd/once/internal/stores"
)

// serve runs the gateway until ctx is done.
func serve(ctx context.Context, std stdio, args []string) error {
	cfg, err := config.Load(args, os.LookupEnv)
	if errors.Is(err, flag.ErrHelp) {
		config.Help(std.out)
		return err
	}
	if err != nil {
		return usageError{listed(err)}
	}
	defer runtime.KeepAlive(heapFloor())
	log := newLogger(std, cfg)
	if cfg.Store, err = stores.Resolve(cfg.Store, cfg.DataDir); err != nil {
		return usageError{err}
	}
	if dir := stores.Directory(cfg.Store); dir != "" {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
	}
	store, err := stores.Open(ctx, cfg.Store)
	if err != nil {
		return err
	}
	err = serveStore(ctx, cfg, store, log)
	return errors.Join(err, stores.Close(store))
}

// heapFloor returns memory that is never touched, so that it is not there but for the garbage
// collector, which runs when the heap is twice of what lives. A gateway keeps little and passes on
// much: without a floor it would collect dozens of times a second for the sake of a few megabytes.
func heapFloor() []byte {
	if os.Getenv("GOGC") != "" {
		return nil // somebody knows better
	}
	return make([]byte, 32<<20)
}

// listed puts each of several errors on a line of its own below the first.
func listed(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 1 {
		text := fmt.Sprintf("%d settings are wrong", len(joined.Unwrap()))
		for _, e := range joined.Unwrap() {
			text += "\n  " + e.Error()
		}
		return errors.New(text)
	}
	return err
}

func newLogger(std stdio, cfg *config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(std.err, options))
	}
	return slog.New(slog.NewJSONHandler(std.err, options))
}

func serveStore(ctx context.Context, cfg *config.Config, store once.Store, log *slog.Logger) error {
	if err := gateway.CheckTrust(cfg, store); err != nil {
		return usageError{err}
	}
	secret, err := scopeSecret(cfg, store)
	if err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, err := gateway.New(background, cfg, store, secret, log)
	if err != nil {
		return err
	}
	defer g.Close()
	s, err := g.Listen()
	if err != nil {
		return err
	}
	adminDone := make(chan struct{})
	go func() {
		defer close(adminDone)
		serveAdmin(background, cfg, store, log)
	}()
	announce(cfg, s, log)
	err = s.Serve(ctx)
	stop()
	<-adminDone
	log.Info("stopped")
	return err
}

// serveAdmin lets operators see the records of a store that only this process can open.
func serveAdmin(ctx context.Context, cfg *config.Config, store once.Store, log *slog.Logger) {
	dir := stores.Directory(cfg.Store)
	if dir == "" {
		return
	}
	if err := admin.Serve(ctx, admin.SocketPath(dir), admin.Of(store)); err != nil {
		log.Error("once ls, show, resolve and forget need this process stopped", "error", err)
	}
}

// announce says what runs, and what is dangerous about it.
func announce(cfg *config.Config, s *gateway.Server, log *slog.Logger) {
	attrs := []any{"listen", s.Addr().String(), "upstream", cfg.Upstream.URL.String(), "store", stores.Redact(cfg.Store),
		"scope", cfg.Scope.String(), "in-doubt", cfg.InDoubt.String(), "version", buildVersion()}
	if a := s.AdminAddr(); a != nil {
		attrs = append(attrs, "admin", a.String())
	}
	log.Info("serving", attrs...)
	if cfg.Scope.Kind == "shared" {
		log.Warn("ALL CALLERS SHARE ONE SCOPE: whoever knows a key and a request is given the response that another caller got")
	}
	if cfg.DangerouslyTrustStore {
		log.Warn("THE STORE IS TRUSTED TO REMEMBER WHAT IT MAY FORGET: an operation that is held may happen again")
	}
}

// scopeSecret returns the secret that scopes of basic authentication are made with.
func scopeSecret(cfg *config.Config, store once.Store) ([]byte, error) {
	if cfg.Scope.Kind != "basic" {
		return nil, nil
	}
	if cfg.ScopeSecret != "" {
		return scope.ReadSecret(cfg.ScopeSecret)
	}
	if dir := stores.Directory(cfg.Store); dir != "" {
		return scope.KeptSecret(dir + ".secret")
	}
	if g, ok := store.(once.Guarantor); !ok || g.Guarantees().Shared {
		return nil, usagef("scope-secret is missing; gateways that share a store need the same one, or a retry that reaches another gateway is run again")
	}
	// The records end with this process, and the scopes with them.
	return []byte(once.NewOwner().String()), nil
}
