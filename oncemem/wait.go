package oncemem

import (
	"context"

	"github.com/oncehq/once"
)

// Wait implements [once.Waiter]. It also ends when the store is closed, and does not notice
// that a lease ran out.
func (s *Store) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	changed, err := s.changed(ctx, k, o)
	if err != nil || changed == nil {
		return err
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// changed returns a channel that is closed once the operation is no longer in flight under this
// owner, or nil if it is not now.
func (s *Store) changed(
	ctx context.Context, k once.Key, o once.Owner,
) (<-chan struct{}, error) {
	hash, sh, now, err := s.enter(ctx, k)
	if err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	r := sh.owned(s, hash, k, o, now)
	if r == nil || r.state(now) != once.InFlight {
		return nil, nil
	}
	if r.waiting == nil {
		r.waiting = make(chan struct{})
	}
	return r.waiting, nil
}
