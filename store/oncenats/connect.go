package oncenats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// reconnectPause lies between two attempts at the same server.
const reconnectPause = 50 * time.Millisecond

// dial connects to the first server that lets it. What happens to the connection later is told to
// the wire.
func dial(ctx context.Context, t Target, cfg Config, w *wire) (*nats.Conn, error) {
	options, err := t.options(cfg, w)
	if err != nil {
		return nil, err
	}
	type result struct {
		nc  *nats.Conn
		err error
	}
	made := make(chan result, 1)
	go func() {
		nc, err := options.Connect()
		made <- result{nc, err}
	}()
	select {
	case r := <-made:
		if r.err != nil {
			return nil, fmt.Errorf("oncenats: cannot connect to %s: %w%s", t, r.err, advice(r.err))
		}
		return r.nc, nil
	case <-ctx.Done():
		go func() {
			if r := <-made; r.err == nil {
				r.nc.Close()
			}
		}()
		return nil, fmt.Errorf("oncenats: cannot connect to %s: %w", t, context.Cause(ctx))
	}
}

// options are what to connect with. While there is no connection nothing is kept to be sent later,
// when nobody may be waiting for it anymore.
func (t Target) options(cfg Config, w *wire) (*nats.Options, error) {
	o := nats.GetDefaultOptions()
	for _, addr := range t.Addrs {
		o.Servers = append(o.Servers, "nats://"+addr)
	}
	o.Name = "once"
	o.User, o.Password, o.Token = t.Username, t.Password, t.Token
	o.Timeout = cfg.DialTimeout
	o.MaxReconnect = -1
	o.ReconnectWait = reconnectPause
	o.ReconnectJitter = reconnectPause
	o.ReconnectJitterTLS = reconnectPause
	o.ReconnectBufSize = -1
	o.PingInterval = max(cfg.Timeout/2, time.Millisecond)
	o.MaxPingsOut = 2 // without an answer; then the connection is made anew, to another server perhaps
	o.IgnoreAuthErrorAbort = true
	o.PermissionErrOnSubscribe = true
	o.DisconnectedErrCB = func(*nats.Conn, error) { w.lost() }
	o.ReconnectedCB = func(*nats.Conn) { w.found() }
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { w.refused(err) }
	if cfg.TLS != nil {
		o.Secure, o.TLSConfig = true, cfg.TLS
	}
	if t.Credentials != "" {
		if err := nats.UserCredentials(t.Credentials)(&o); err != nil {
			return nil, fmt.Errorf("oncenats: DSN: creds: %w", err)
		}
	}
	if t.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(t.NKey)
		if err != nil {
			return nil, fmt.Errorf("oncenats: DSN: nkey: %w", err)
		}
		if err := option(&o); err != nil {
			return nil, fmt.Errorf("oncenats: DSN: nkey: %w", err)
		}
	}
	return &o, nil
}

// advice says what to do about an error of connecting.
func advice(err error) string {
	var record tls.RecordHeaderError
	var netErr *net.OpError
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return "; user, password, token or credentials in the DSN are missing or wrong"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "; the server wants TLS: write nats+tls in the DSN"
	case errors.Is(err, nats.ErrSecureConnWanted), errors.As(err, &record):
		return "; the server has no TLS: write nats in the DSN"
	case errors.Is(err, nats.ErrNoServers), errors.As(err, &netErr), strings.Contains(err.Error(), "refused"):
		return "; is the server running there?"
	}
	return ""
}
