package onceetcd

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// When it cannot be watched a wait asks again and again; the pauses double.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second

	// When it can, it asks from time to time all the same. Nothing needs that; but a server, or a
	// proxy before it, that swallows messages must not hold a caller up for ever.
	livePause = 10 * time.Second
)

// Wait implements [once.Waiter]. It watches the key that is there while the operation is in
// flight, from the revision on in which it was seen: also the end of a lease that ran out is told.
func (s *Store) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.stopped, func() { cancel(once.ErrClosed) })()
	n := namesOf(s.cfg.Prefix, k)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		flies, revision, err := s.flies(ctx, n, o)
		if err == nil && !flies {
			return nil
		}
		began := time.Now()
		if err == nil {
			if s.watch(ctx, n, revision+1) {
				return nil
			}
		}
		if time.Since(began) >= livePause/2 {
			pause = firstPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		if errors.Is(err, once.ErrClosed) {
			return err
		}
	}
}

// flies reports whether the operation is in flight under the owner, and in which revision of the
// store that was so.
func (s *Store) flies(ctx context.Context, n names, o once.Owner) (bool, int64, error) {
	resp, err := s.txn(ctx, "wait", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		conditions := append(n.claimedBy(o), clientv3.Compare(clientv3.CreateRevision(n.flight), ">", 0))
		return s.client.Txn(ctx).If(conditions...).Commit()
	}, noLeases)
	if err != nil {
		return false, 0, err
	}
	return resp.Succeeded, resp.Header.Revision, nil
}

// watch reports true when the flight has ended in that revision or later, and false if it cannot
// be watched, or not for longer.
func (s *Store) watch(ctx context.Context, n names, revision int64) bool {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), livePause)
	defer cancel()
	for resp := range s.client.Watch(ctx, n.flight, clientv3.WithRev(revision), clientv3.WithFilterPut()) {
		if resp.Err() != nil {
			return false
		}
		if len(resp.Events) > 0 {
			return true
		}
	}
	return false
}
