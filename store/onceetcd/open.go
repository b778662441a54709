package onceetcd

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// A Store is a [once.Store] in etcd. Its methods may be called by many goroutines at once.
type Store struct {
	client  *clientv3.Client
	target  Target
	cfg     Config
	cluster cluster // as it was when the store was opened
	leases  *leases
	seen    seen

	closed  atomic.Bool
	stopped context.Context
	stop    context.CancelFunc
}

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Waiter    = (*Store)(nil)
	_ once.Batcher   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
)

// Open connects to the cluster and checks that it is fit to keep records: etcd 3.4 or newer, with a
// leader, and with the right to read and write the prefix. No key is written; some leases are granted
// and given back, to see whether the servers sync their log. The context's
// deadline bounds that, as does Config.Timeout. The caller must close the store.
func Open(ctx context.Context, cfg Config) (*Store, error) { return openWith(ctx, cfg) }

func openWith(ctx context.Context, cfg Config, options ...grpc.DialOption) (*Store, error) {
	client, target, cfg, err := reach(ctx, cfg, options...)
	if err != nil {
		return nil, err
	}
	c, err := inspect(ctx, client, target, cfg)
	if err == nil {
		err = errors.Join(c.check(), mayWrite(ctx, client, cfg))
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	s := &Store{client: client, target: target, cfg: cfg, cluster: c}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.leases = newLeases(&etcdLeases{client}, cfg.Timeout)
	return s, nil
}

// Close ends the waits, gives back what leases nobody needs, and ends the connections. Verbs that
// follow return [once.ErrClosed].
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), min(s.cfg.Timeout, time.Second))
	defer cancel()
	s.leases.close(ctx)
	s.client.Close() // its error is that of its context, which it ends itself
	return nil
}

// usable reports why nothing may be started.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return once.ErrClosed
	}
	return ctx.Err()
}
