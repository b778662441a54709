// Package upstream sends requests to one server and knows whether a byte of them was sent.
//
// A gateway must tell "the server was never asked" from "nobody knows", and must never send a
// request again on its own once a byte of it is out. [http.Transport] does not say which of the
// two a failure was, and sends requests that carry an Idempotency-Key a second time when a
// connection breaks, since it takes them for harmless. So this package speaks HTTP/1.1 over
// connections of its own, on the caller's goroutine, which also costs half as much.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A Config says where the server is and how to reach it.
type Config struct {
	// URL is the server's: scheme http or https, host and perhaps port, and a path that is put
	// in front of every request's. Required.
	URL *url.URL

	// TLS is for https. Its ServerName defaults to the host of URL. Defaults to the system's
	// authorities.
	TLS *tls.Config

	// Connect is how long one connection may take to make. Required.
	Connect time.Duration

	// Idle is how long an unused connection is kept. It should be shorter than the server
	// keeps it: a request that crosses with the end of its connection is in doubt. Required.
	Idle time.Duration

	// MaxIdle is how many unused connections are kept. Required.
	MaxIdle int

	// Retries is how often a request is tried again of which no byte was sent. Defaults to
	// zero.
	Retries int
}

// An Error says that no response came, and whether the server may have seen the request.
type Error struct {
	Sent bool // at least one byte may have reached the server
	Err  error
}

func (e *Error) Error() string {
	if e.Sent {
		return "upstream: no answer to a request that was sent: " + e.Err.Error()
	}
	return "upstream: not reached: " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the server took too long.
func (e *Error) Timeout() bool {
	ne, ok := errors.AsType[net.Error](e.Err)
	return ok && ne.Timeout()
}

var errClosed = errors.New("the gateway is shutting down")

// A Client sends requests to one server. It may be used by many goroutines at once.
type Client struct {
	cfg    Config
	addr   string
	tls    *tls.Config // nil: plain
	dialer net.Dialer
	stop   chan struct{}

	mu     sync.Mutex // guards the rest; never held across I/O
	idle   []*conn    // the longest unused first
	busy   map[*conn]struct{}
	closed bool
}

// New returns a client. Close must be called when it is no longer needed.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, stop: make(chan struct{}), busy: make(map[*conn]struct{})}
	port := cfg.URL.Port()
	switch cfg.URL.Scheme {
	case "http":
		port = orElse(port, "80")
	case "https":
		port = orElse(port, "443")
		c.tls = &tls.Config{}
		if cfg.TLS != nil {
			c.tls = cfg.TLS.Clone()
		}
		c.tls.ServerName = orElse(c.tls.ServerName, cfg.URL.Hostname())
		c.tls.NextProtos = []string{"http/1.1"}
	default:
		return nil, fmt.Errorf("upstream: scheme is %q; use http or https", cfg.URL.Scheme)
	}
	c.addr = net.JoinHostPort(cfg.URL.Hostname(), port)
	c.dialer.Timeout = cfg.Connect
	go c.prune()
	return c, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Close breaks all connections, also those in use: the requests under way on them fail.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.stop)
	for _, cn := range c.idle {
		cn.hangUp()
	}
	for cn := range c.busy {
		cn.hangUp()
	}
	c.idle = nil
}

// Do sends the request and returns the response's head; its body must be closed. The error is an
// [*Error]. When ctx is done, or the request's time is over, the connection is broken, also while
// the response's body is being read.
func (c *Client) Do(ctx context.Context, r *Request) (*http.Response, error) {
	if !r.sendable() {
		return nil, &Error{Err: errUnsendable}
	}
	for try := 0; ; try++ {
		cn, err := c.get(ctx)
		if err == nil {
			var resp *http.Response
			if resp, err = cn.exchange(ctx, r); err == nil {
				return resp, nil
			}
			c.put(cn, false)
			if cn.sent() {
				return nil, &Error{Sent: true, Err: cause(ctx, err)}
			}
			if cn.used { // the server had closed it; a new one may well do
				try--
				continue
			}
		}
		if try >= c.cfg.Retries || ctx.Err() != nil || !c.pause(ctx, try) {
			return nil, &Error{Err: cause(ctx, err)}
		}
	}
}

// cause prefers the reason for which ctx is done to what came of it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *Client) pause(ctx context.Context, try int) bool {
	t := time.NewTimer(20 * time.Millisecond << min(try, 4))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-c.stop:
	}
	return false
}

// get returns a connection on which nothing is under way: the one unused for the shortest time,
// or a new one.
func (c *Client) get(ctx context.Context) (*conn, error) {
	for {
		cn, err := c.takeIdle()
		if err != nil {
			return nil, err
		}
		if cn == nil {
			return c.dial(ctx)
		}
		if cn.alive() {
			cn.used = true
			return cn, nil
		}
		c.put(cn, false)
	}
}

func (c *Client) takeIdle() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	n := len(c.idle)
	if n == 0 {
		return nil, nil
	}
	cn := c.idle[n-1]
	c.idle[n-1] = nil
	c.idle = c.idle[:n-1]
	c.busy[cn] = struct{}{}
	return cn, nil
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Connect)
	defer cancel()
	nc, err := c.dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	cn := newConn(c, nc)
	if c.tls != nil {
		tc := tls.Client(&cn.counted, c.tls)
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		cn.Conn = tc
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		nc.Close()
		return nil, errClosed
	}
	c.busy[cn] = struct{}{}
	return cn, nil
}

// put takes a connection back.
func (c *Client) put(cn *conn, reusable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, cn)
	if !reusable || c.closed || len(c.idle) >= c.cfg.MaxIdle {
		cn.hangUp()
		return
	}
	cn.since = time.Now()
	c.idle = append(c.idle, cn)
}

// prune closes connections that have not been used for long, until Close.
func (c *Client) prune() {
	t := time.NewTicker(max(c.cfg.Idle/4, 10*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case now := <-t.C:
			c.pruneAt(now)
		}
	}
}

func (c *Client) pruneAt(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.idle) && now.Sub(c.idle[n].since) > c.cfg.Idle {
		c.idle[n].hangUp()
		n++
	}
	c.idle = append(c.idle[:0], c.idle[n:]...)
	clear(c.idle[len(c.idle):cap(c.idle)])
}
