package onceredis

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"

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
	client, target, cfg, err := reach(ctx, cfg)
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

// reach checks and completes the config, and connects.
func reach(ctx context.Context, cfg Config) (rueidis.Client, Target, Config, error) {
	target, err := ParseDSN(cfg.DSN)
	cfg = cfg.merge(target.config)
	if err := errors.Join(err, cfg.check()); err != nil {
		return nil, target, cfg, err
	}
	cfg = cfg.withDefaults()
	if cfg.TLS == nil {
		if cfg.TLS, err = target.tlsConfig(); err != nil {
			return nil, target, cfg, err
		}
	}
	client, err := connect(ctx, target, cfg)
	return client, target, cfg, err
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

// Close ends the connections and the waits. Verbs that follow return [once.ErrClosed].
func (s *Store) Close() error {
	if !s.closed.Swap(true) {
		s.topics.close()
		s.client.Close()
	}
	return nil
}
