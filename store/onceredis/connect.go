package onceredis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	bufferSize = 128 << 10 // of each connection and direction

	// topologyRefresh is how often the client asks who is master, beside being told.
	topologyRefresh = 5 * time.Second
)

// connect makes the client. It sends nothing twice: what to repeat is the guard's decision, which
// knows that verbs may be repeated. Only redirections within a Cluster are followed, since a
// command that was redirected was not carried out.
func connect(ctx context.Context, t Target, cfg Config) (rueidis.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	option := rueidis.ClientOption{
		InitAddress:         t.Addrs,
		Username:            t.Username,
		Password:            t.Password,
		SelectDB:            t.DB,
		TLSConfig:           cfg.TLS,
		ClientName:          "once",
		Dialer:              net.Dialer{Timeout: cfg.DialTimeout},
		DialCtxFn:           dialForAll,
		ForceSingleClient:   t.Mode == Single,
		ConnWriteTimeout:    cfg.Timeout + cfg.MinReplicasTimeout, // WAIT is silent on purpose
		DisableRetry:        true,
		DisableCache:        true,
		BlockingPoolSize:    cfg.MaxConns,
		MaxFlushDelay:       cfg.MaxFlushDelay,
		ReadBufferEachConn:  bufferSize,
		WriteBufferEachConn: bufferSize,
	}
	switch t.Mode {
	case Sentinel:
		option.Sentinel = rueidis.SentinelOption{
			Dialer:                  option.Dialer,
			TLSConfig:               cfg.TLS,
			MasterSet:               t.Master,
			Username:                t.SentinelUsername,
			Password:                t.SentinelPassword,
			ClientName:              option.ClientName,
			TopologyRefreshInterval: topologyRefresh,
		}
	case Cluster:
		option.ClusterOption.ShardsRefreshInterval = topologyRefresh
	}
	return newClient(ctx, t, option)
}

// newClient makes the client, but does not wait for it beyond the context.
func newClient(ctx context.Context, t Target, option rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	made := make(chan result, 1)
	go func() {
		client, err := rueidis.NewClient(option)
		if err != nil && client != nil {
			client.Close()
		}
		made <- result{client, err}
	}()
	select {
	case r := <-made:
		if r.err != nil {
			return nil, fmt.Errorf("onceredis: cannot connect to %s: %w%s", t, r.err, advice(r.err))
		}
		return r.client, nil
	case <-ctx.Done():
		go func() {
			if r := <-made; r.err == nil {
				r.client.Close()
			}
		}()
		return nil, fmt.Errorf("onceredis: cannot connect to %s: %w", t, context.Cause(ctx))
	}
}

// advice says what to do about an error of connecting.
func advice(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "NOAUTH"):
		return "; put the password into the DSN: redis://user:password@host"
	case strings.Contains(text, "WRONGPASS"):
		return "; user or password in the DSN is wrong"
	case strings.Contains(text, "refused"):
		return "; is the server running there?"
	}
	return ""
}

// The client makes a connection under the context of whoever needs it first, and all who need it
// too get that one's error. An impatient caller must not be able to do that to the others, or
// many of them could keep the connection from ever being made. So connections are made without
// regard to deadlines, in at most Config.DialTimeout for each of its two steps; and if the
// context of the first caller ends between these, the others try again.

// dialForAll is the first step. The second one is in the hands of the client: it gives the
// handshake what is left of the context's deadline, if there is one, and does not look at
// its end once it has begun.
func dialForAll(
	ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config,
) (conn net.Conn, err error) {
	ctx = context.WithoutCancel(ctx)
	if config != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, dialError{err}
	}
	return conn, nil
}

// A dialError is not the end of anybody's context, though it may be a time-out.
type dialError struct{ err error }

func (e dialError) Error() string { return e.err.Error() }

// patient is a context that ends when it should, but does not say so beforehand.
type patient struct{ context.Context }

func (patient) Deadline() (time.Time, bool) { return time.Time{}, false }

// do sends a command, once. Only if it was not sent, because the context of another caller ended
// while that one was making the connection, it tries again.
func (s *Store) do(
	ctx context.Context, command func(rueidis.Builder) rueidis.Completed,
) (reply rueidis.RedisMessage, err error) {
	const tries = 8
	for range tries {
		reply, err = s.client.Do(patient{ctx}, command(s.client.B())).ToMessage()
		if !othersError(ctx, err) {
			break
		}
	}
	return reply, err
}

// othersError reports whether err is the end of a context, but not of this one.
func othersError(ctx context.Context, err error) bool {
	return (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && ctx.Err() == nil
}
