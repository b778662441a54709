package oncedisk

import (
	"context"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// Claim implements [once.Store].
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	cell, rec, err := s.contest(ctx, &c, true)
	if cell == nil {
		return rec, err
	}
	next := s.assign(cell, &c)
	if err := s.change(ctx, cell, &next); err != nil {
		return once.Record{}, err
	}
	return next.record(next.at), nil
}

// contest returns the cell of the claim's key, if the claim is to win it, or what stands.
func (s *Store) contest(
	ctx context.Context, c *once.Claim, patient bool,
) (cell *cell, rec once.Record, refusal error) {
	cell, err := s.look(ctx, c.Key, patient, func(e *entry, now instant) bool {
		rec, refusal = once.Record{}, nil
		switch {
		case e.kind == 0:
			return true
		case !e.fingerprint.Matches(c.Fingerprint):
			refusal = once.ErrMismatch
			return false
		case e.state(now) == once.InDoubt && e.owner != c.Owner && c.Takeover > e.attempt:
			return true
		}
		rec = e.show(c.Key, now)
		return false
	})
	if err != nil {
		return nil, once.Record{}, err
	}
	if full := s.log.full.Load(); cell != nil && full != nil {
		s.abandon(cell)
		return nil, once.Record{}, fmt.Errorf("oncedisk: %w; free some space: %w", once.ErrFull, *full)
	}
	return cell, rec, refusal
}

// show returns the record for a caller, to whom nothing of the entry's buffers is given. k is the
// entry's key.
func (e *entry) show(k once.Key, now instant) once.Record {
	if e.kind == kindDone {
		e.keep(k)
	}
	r := e.record(now)
	r.Key = k
	return r
}

// assign returns the entry that makes the claim's owner that of the busy cell.
func (s *Store) assign(cell *cell, c *once.Claim) entry {
	now := s.clock.now()
	next := entry{key: c.Key, fingerprint: c.Fingerprint, created: now}
	if cell.kind == kindOpen && !cell.over(now) {
		next = cell.entry
	} else {
		next.first = s.log.number()
	}
	next.kind = kindOpen
	next.owner, next.lease, next.forget = c.Owner, c.Lease, c.Forget
	next.at, next.stamp = now, s.clock.stamp(now)
	next.fence = next.stamp
	next.attempt++
	return next
}

// owned returns the busy cell of a claim that the owner holds, else ErrLost.
func (s *Store) owned(ctx context.Context, k once.Key, o once.Owner) (c *cell, refusal error) {
	c, err := s.visit(ctx, k, func(e *entry, _ instant) bool {
		refusal = nil
		if e.kind != kindOpen || e.owner != o {
			refusal = once.ErrLost
		}
		return refusal == nil
	})
	if err != nil {
		return nil, err
	}
	return c, refusal
}

// Renew implements [once.Store].
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	lease = max(lease, 0)
	c, err := s.owned(ctx, k, o)
	if c == nil {
		return err
	}
	next := c.entry
	next.at, next.lease = s.clock.now(), lease
	next.stamp = s.clock.stamp(next.at)
	return s.change(ctx, c, &next)
}

// Complete implements [once.Store]. The data of an outcome are at most Config.MaxOutcome bytes.
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if len(out.Data) > s.cfg.MaxOutcome || len(out.Type) > 255 {
		return once.ErrTooLarge
	}
	var refusal error
	c, err := s.visit(ctx, k, func(e *entry, now instant) bool {
		refusal = nil
		switch {
		case e.kind == 0 || e.owner != o:
			refusal = once.ErrLost
		case e.kind == kindOpen:
			return true
		case !e.outcome.Equal(out):
			refusal = once.ErrLost
		}
		return false
	})
	if err != nil {
		return err
	}
	if c == nil {
		return refusal
	}
	if retention <= 0 {
		return s.erase(ctx, c)
	}
	next := c.entry
	next.kind, next.at = kindDone, s.clock.now()
	next.stamp = s.clock.stamp(next.at)
	next.outcome, next.retention = out, retention
	return s.change(ctx, c, &next)
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	c, err := s.owned(ctx, k, o)
	if c == nil {
		return err
	}
	return s.erase(ctx, c)
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	var refusal error
	c, err := s.visit(ctx, k, func(e *entry, _ instant) bool {
		refusal = nil
		switch {
		case e.kind == 0:
			refusal = once.ErrNotFound
		case e.owner != o:
			refusal = once.ErrLost
		}
		return refusal == nil
	})
	if err != nil {
		return err
	}
	if c == nil {
		return refusal
	}
	return s.erase(ctx, c)
}

// erase removes the record of a busy cell.
func (s *Store) erase(ctx context.Context, c *cell) error {
	next := entry{kind: kindGone, key: c.key, first: c.first, stamp: s.clock.stamp(s.clock.now())}
	if c.kind == kindDone {
		next.until = c.expiry()
	}
	return s.change(ctx, c, &next)
}

// Load implements [once.Store].
func (s *Store) Load(ctx context.Context, k once.Key) (rec once.Record, refusal error) {
	_, err := s.visit(ctx, k, func(e *entry, now instant) bool {
		rec, refusal = once.Record{}, nil
		if e.kind == 0 {
			refusal = once.ErrNotFound
			return false
		}
		rec = e.show(k, now)
		return false
	})
	if err != nil {
		return once.Record{}, err
	}
	return rec, refusal
}
