package oncedisk

import (
	"context"

	"github.com/oncehq/once"
)

// wait returns when the channel is closed, or why it will not wait for that.
func (s *Store) wait(ctx context.Context, wake <-chan struct{}) error {
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wait implements [once.Waiter]. It does not notice that a lease ran out.
func (s *Store) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	for {
		if err := s.usable(ctx); err != nil {
			return err
		}
		wake, err := s.watch(ctx, k, o)
		if wake == nil {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return once.ErrClosed
		}
	}
}

// watch returns a channel that is closed when the operation may be no longer in flight under the
// owner; it is nil if that is so already.
func (s *Store) watch(ctx context.Context, k once.Key, o once.Owner) (<-chan struct{}, error) {
	flies := func(e *entry, now instant) bool {
		return e.kind == kindOpen && e.owner == o && e.state(now) == once.InFlight
	}
	hash := s.hashKey(k)
	sh := s.shard(hash)
	for {
		sh.mu.Lock()
		if c := sh.cell(hash, k); c != nil {
			defer sh.mu.Unlock()
			if !c.busy && !flies(&c.entry, s.clock.now()) {
				return nil, nil
			}
			return c.waiting(), nil
		}
		sh.mu.Unlock()
		// A claim that is not in memory is put there, where it can be watched.
		c, err := s.visit(ctx, k, flies)
		if c == nil {
			return nil, err
		}
		s.abandon(c)
	}
}
