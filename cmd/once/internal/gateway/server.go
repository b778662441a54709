package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/oncehq/once/cmd/once/internal/wire"
)

const (
	maxStreams = 250             // of one HTTP/2 connection
	settle     = 5 * time.Second // for operations that were broken off to be put in doubt
)

// A Server is a gateway that listens.
type Server struct {
	g        *Gateway
	main     *http.Server
	listener *wire.Listener
	admin    *http.Server // nil: none
	adminAt  net.Listener
}

// Listen opens the ports that the configuration names. Serve must be called then.
func (g *Gateway) Listen() (*Server, error) {
	s := &Server{g: g, listener: &wire.Listener{Stall: g.cfg.WriteTimeout, Max: g.cfg.MaxConnections}}
	if c := g.cfg.TLS; c.Cert != "" {
		pair := &certificate{cert: c.Cert, key: c.Key, log: g.log}
		if _, err := pair.load(time.Now()); err != nil {
			return nil, fmt.Errorf("tls-cert: %w", err)
		}
		s.listener.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
			GetCertificate: pair.get}
	}
	var err error
	if s.listener.Listener, err = net.Listen("tcp", g.cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if g.cfg.Admin != "" {
		if s.adminAt, err = net.Listen("tcp", g.cfg.Admin); err != nil {
			s.listener.Close()
			return nil, fmt.Errorf("admin: %w; choose another address, or --admin off", err)
		}
		s.admin = &http.Server{Handler: g.Health(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 10 * time.Second}
	}
	s.main = s.newMain()
	return s, nil
}

func (s *Server) newMain() *http.Server {
	cfg := s.g.cfg
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           s.g,
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.HeaderBytes,
		ConnState:         wire.StateHook,
		ErrorLog:          slog.NewLogLogger(s.g.log.Handler(), slog.LevelDebug),
	}
}

// Addr returns where clients connect.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// AdminAddr returns where health is told, or nil.
func (s *Server) AdminAddr() net.Addr {
	if s.adminAt == nil {
		return nil
	}
	return s.adminAt.Addr()
}

// Serve serves until ctx is done. Then requests under way may go on for the time to drain; those
// that are not done by then are broken off, and their operations are in doubt. When Serve
// returns nothing uses the store any more.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 2)
	var serving sync.WaitGroup
	serve := func(srv *http.Server, l net.Listener) {
		serving.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	serve(s.main, s.listener)
	if s.admin != nil {
		serve(s.admin, s.adminAt)
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain()
	serving.Wait()
	return err
}

func (s *Server) drain() {
	s.g.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.g.cfg.Drain)
	defer cancel()
	s.g.log.Info("draining", "timeout", s.g.cfg.Drain.String())
	if err := s.main.Shutdown(ctx); err != nil {
		s.g.log.Warn("requests are broken off", "error", err)
	}
	s.g.Close()
	s.main.Close()
	s.g.waitRunning(settle)
	if s.admin != nil {
		s.admin.Close()
	}
}

// waitRunning waits for the guarded requests to have told the store what came of them. If the
// store does not answer, their leases run out, and that is the same.
func (g *Gateway) waitRunning(limit time.Duration) {
	for deadline := time.Now().Add(limit); g.running.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.log.Error("operations have not ended; they are in doubt when their lease is over", "operations", g.running.Load())
			return
		}
	}
}

// A certificate is read again when its file has changed, since certificates are renewed.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex // guards the rest
	pair    *tls.Certificate
	checked time.Time
}

const recheck = time.Minute

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.load(time.Now()) }

func (c *certificate) load(now time.Time) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && now.Sub(c.checked) < recheck {
		return c.pair, nil
	}
	c.checked = now
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	switch {
	case err == nil:
		c.pair = &pair
	case c.pair == nil:
		return nil, err
	default:
		c.log.Error("certificate is not renewed; the one read before is used", "error", err)
	}
	return c.pair, nil
}
