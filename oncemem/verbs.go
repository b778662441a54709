package oncemem

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

// Claim implements [once.Store].
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := ctx.Err(); err != nil {
		return once.Record{}, err
	}
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	hash, sh := s.locate(c.Key)
	now := s.now()
	rec, err := sh.claim(s, hash, &c, now)
	for err != nil && errors.Is(err, once.ErrFull) && s.makeRoom(now) {
		rec, err = sh.claim(s, hash, &c, now)
	}
	s.expireElsewhere(hash, now)
	return rec, err
}

func (sh *shard) claim(s *Store, hash uint64, c *once.Claim, now instant) (once.Record, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return once.Record{}, once.ErrClosed
	}
	sh.expire(s, now, expirePerClaim)
	r := sh.find(s, hash, c.Key, now)
	switch {
	case r == nil:
		if err := s.reserve(keyBytes(c.Key)); err != nil {
			return once.Record{}, err
		}
		r = sh.insert(s, hash, c, now)
	case !r.fingerprint.Matches(c.Fingerprint):
		return once.Record{}, once.ErrMismatch
	case r.state(now) == once.InDoubt && r.owner != c.Owner && c.Takeover > int(r.attempt):
		sh.assign(s, r, c, now)
	}
	return r.view(s, c.Key, now), nil
}

// enter locks the shard of the key for one verb, which must unlock it.
func (s *Store) enter(ctx context.Context, k once.Key) (uint64, *shard, instant, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, 0, err
	}
	hash, sh := s.locate(k)
	now := s.now()
	sh.mu.Lock()
	if sh.closed {
		sh.mu.Unlock()
		return 0, nil, 0, once.ErrClosed
	}
	return hash, sh, now, nil
}

// Renew implements [once.Store].
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	hash, sh, now, err := s.enter(ctx, k)
	if err != nil {
		return err
	}
	defer sh.mu.Unlock()
	r := sh.owned(s, hash, k, o, now)
	if r == nil {
		return once.ErrLost
	}
	r.ends = now.plus(max(lease, 0))
	if lease <= 0 {
		r.wake()
	}
	sh.reschedule(r)
	return nil
}

// Complete implements [once.Store]. The store keeps out.Data itself, not a copy of it.
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	hash, sh, now, err := s.enter(ctx, k)
	if err != nil {
		return err
	}
	defer sh.mu.Unlock()
	r := sh.find(s, hash, k, now)
	switch {
	case r == nil || r.owner != o || r.done && !r.outcome().Equal(out):
		return once.ErrLost
	case r.done:
		return nil
	case retention <= 0:
		sh.remove(s, r)
		return nil
	}
	r.done, r.failed, r.mediaType, r.data = true, out.Failed, out.Type, out.Data
	s.bytes.Add(outcomeBytes(out))
	r.ends = now.plus(retention)
	r.wake()
	sh.reschedule(r)
	return nil
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	hash, sh, now, err := s.enter(ctx, k)
	if err != nil {
		return err
	}
	defer sh.mu.Unlock()
	r := sh.owned(s, hash, k, o, now)
	if r == nil {
		return once.ErrLost
	}
	sh.remove(s, r)
	return nil
}

// Load implements [once.Store].
func (s *Store) Load(ctx context.Context, k once.Key) (once.Record, error) {
	hash, sh, now, err := s.enter(ctx, k)
	if err != nil {
		return once.Record{}, err
	}
	defer sh.mu.Unlock()
	r := sh.find(s, hash, k, now)
	if r == nil {
		return once.Record{}, once.ErrNotFound
	}
	return r.view(s, k, now), nil
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	hash, sh, now, err := s.enter(ctx, k)
	if err != nil {
		return err
	}
	defer sh.mu.Unlock()
	r := sh.find(s, hash, k, now)
	switch {
	case r == nil:
		return once.ErrNotFound
	case r.owner != o:
		return once.ErrLost
	}
	sh.remove(s, r)
	return nil
}

// ClaimBatch implements [once.Batcher].
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	for i, c := range claims {
		results[i].Record, results[i].Err = s.Claim(ctx, c)
	}
	return results
}
