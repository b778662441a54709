package oncetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// A transactional store holds claims where nobody sees them until they are completed, the way a
// transaction of a database does that inserts the record and is still open.
type transactional struct {
	mu   sync.Mutex
	open map[once.Key]once.Record
	done Model
}

func TestKitPassesTransactionalStore(t *testing.T) {
	TestStore(t, Options{
		Open: func(*testing.T) once.Store {
			return &transactional{open: make(map[once.Key]once.Record)}
		},
		Second:        func(_ *testing.T, s once.Store) once.Store { return s },
		Reopen:        func(_ *testing.T, s once.Store) once.Store { return s },
		Bubble:        true,
		Transactional: true,
	})
}

func (s *transactional) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec, ok := s.open[c.Key]; ok && rec.Owner == c.Owner && ctx.Err() == nil {
		return rec, nil
	} else if ok && ctx.Err() == nil {
		return once.Record{}, once.ErrInFlight
	}
	rec, err := s.done.Claim(ctx, c)
	if err == nil && rec.Won(c) {
		s.done.Drop(c.Key)
		s.open[c.Key] = rec
	}
	return rec, err
}

// commit does the verb as if the claim had been seen all the time.
func (s *transactional) commit(ctx context.Context, k once.Key, o once.Owner, verb func() error) error {
	if rec, ok := s.open[k]; ok && rec.Owner == o && ctx.Err() == nil {
		delete(s.open, k)
		s.done.put(entry{Record: rec, endless: true})
	}
	return verb()
}

func (s *transactional) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit(ctx, k, o, func() error { return s.done.Complete(ctx, k, o, out, retention) })
}

func (s *transactional) Release(ctx context.Context, k once.Key, o once.Owner) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit(ctx, k, o, func() error { return s.done.Release(ctx, k, o) })
}

func (s *transactional) Renew(ctx context.Context, k once.Key, o once.Owner, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec, ok := s.open[k]; !ok || rec.Owner != o {
		return once.ErrLost
	}
	return ctx.Err()
}

func (s *transactional) Load(ctx context.Context, k once.Key) (once.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done.Load(ctx, k)
}
