package onceredis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// A Store is a [once.Store] in Redis. Its methods may be called by many goroutines at once.
type Store struct {
	client  rueidis.Client
	target  Target
	cfg     Config
	scripts scripts
	masters []server // as they were when the store was opened; at least one

	dedicated chan struct{} // holds a token for each dedicated connection in use
	topics    topics
	seen      *seen
	closed    atomic.Bool
}

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Waiter    = (*Store)(nil)
	_ once.Batcher   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
)

// Open connects to the servers and checks that they are fit to keep records: Redis 6.2 or newer or
// Valkey, a master, that does not evict keys. The context's deadline bounds that. The caller must
// close the store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	target, err := ParseDSN(cfg.DSN)
	cfg = cfg.merge(target.config)
	if err := errors.Join(err, cfg.check()); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.TLS == nil {
		if cfg.TLS, err = target.tlsConfig(); err != nil {
			return nil, err
		}
	}
	client, err := connect(ctx, target, cfg)
	if err != nil {
		return nil, err
	}
	masters, err := inspect(ctx, client)
	for _, m := range masters {
		err = errors.Join(err, m.check(target.Mode))
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	s := &Store{
		client:    client,
		target:    target,
		cfg:       cfg,
		masters:   masters,
		dedicated: make(chan struct{}, cfg.MaxConns),
		seen:      newSeen(),
	}
	sharded := target.Mode == Cluster
	for _, m := range masters {
		sharded = sharded && m.major >= 7
	}
	s.scripts = newScripts(sharded, cfg.MinReplicas > 0)
	s.topics.init(client, sharded)
	return s, nil
}

// merge fills in what the DSN's parameters say.
func (c Config) merge(p Config) Config {
	c.Prefix = cmp.Or(c.Prefix, p.Prefix)
	c.MinReplicas = cmp.Or(c.MinReplicas, p.MinReplicas)
	c.MinReplicasTimeout = cmp.Or(c.MinReplicasTimeout, p.MinReplicasTimeout)
	c.MaxOutcome = cmp.Or(c.MaxOutcome, p.MaxOutcome)
	c.MaxConns = cmp.Or(c.MaxConns, p.MaxConns)
	c.MaxFlushDelay = cmp.Or(c.MaxFlushDelay, p.MaxFlushDelay)
	c.DialTimeout = cmp.Or(c.DialTimeout, p.DialTimeout)
	c.Timeout = cmp.Or(c.Timeout, p.Timeout)
	return c
}

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
	return dial(ctx, t, option)
}

// dial makes the client, but does not wait for it beyond the context.
func dial(ctx context.Context, t Target, option rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	dialed := make(chan result, 1)
	go func() {
		client, err := rueidis.NewClient(option)
		if err != nil && client != nil {
			client.Close()
		}
		dialed <- result{client, err}
	}()
	select {
	case r := <-dialed:
		if r.err != nil {
			return nil, fmt.Errorf("onceredis: cannot connect to %s: %w%s", t, r.err, advice(r.err))
		}
		return r.client, nil
	case <-ctx.Done():
		go func() {
			if r := <-dialed; r.err == nil {
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

// Close ends the connections and the waits. Verbs that follow return [once.ErrClosed].
func (s *Store) Close() error {
	if !s.closed.Swap(true) {
		s.topics.close()
		s.client.Close()
	}
	return nil
}
