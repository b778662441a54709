package oncesql

import (
	"context"
	"time"

	"github.com/oncehq/once"
)

// Claim implements [once.Store].
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	ctx, cancel, err := s.enter(ctx)
	if err != nil {
		return once.Record{}, err
	}
	defer cancel()
	// Whatever makes another round necessary is the success of another claim; so there is an
	// end to them.
	for look := s.engine.looksFirst(); ; look = true {
		if look {
			r, err := s.look(ctx, c.Key)
			if err != nil {
				return once.Record{}, err
			}
			if r != nil {
				rec, settled, err := s.contest(ctx, c, r)
				if err != nil || settled {
					return rec, err
				}
				continue
			}
		}
		rec, err := s.insert(ctx, c)
		if err != nil || rec.Fence != 0 {
			return rec, err
		}
	}
}

// insert claims an operation of which there is no row. If there is one it returns the zero
// Record.
func (s *Store) insert(ctx context.Context, c once.Claim) (once.Record, error) {
	fence, err := s.engine.change(ctx, s.sql.insert, insertArgs(c)...)
	if err != nil || fence == 0 {
		return once.Record{}, explain(err)
	}
	// The fence is the time, so that the record need not be read.
	return once.Record{
		Key: c.Key, Fingerprint: c.Fingerprint, Owner: c.Owner, State: once.InFlight,
		Attempt: 1, Fence: uint64(fence), Created: time.UnixMicro(fence), Lease: c.Lease,
	}, nil
}

// contest is for a claim of an operation of which there is a row. It reports whether the record
// is the answer; otherwise the row has changed, or was changed for the claim, and has to be
// looked at again.
func (s *Store) contest(ctx context.Context, c once.Claim, r *row) (once.Record, bool, error) {
	switch {
	case r.over():
		_, err := s.engine.change(ctx, s.sql.reclaim, reclaimArgs(c, r)...)
		return once.Record{}, false, explain(err)
	case !r.matches(c.Fingerprint):
		return once.Record{}, true, once.ErrMismatch
	case r.inDoubt() && !r.ownedBy(c.Owner) && r.attempt < c.Takeover:
		_, err := s.engine.change(ctx, s.sql.takeOver, takeOverArgs(c, r)...)
		return once.Record{}, false, explain(err)
	}
	return r.record(c.Key), true, nil
}

func insertArgs(c once.Claim) []any {
	lease, forget := micros(c.Lease), forgetMicros(c.Forget)
	return []any{[]byte(c.Key.Scope), []byte(c.Key.ID),
		fingerprintBytes(c.Fingerprint), c.Owner[:], lease, forget, lease, forget}
}

func reclaimArgs(c once.Claim, seen *row) []any {
	return append([]any{fingerprintBytes(c.Fingerprint)}, takeOverArgs(c, seen)...)
}

func takeOverArgs(c once.Claim, seen *row) []any {
	lease, forget := micros(c.Lease), forgetMicros(c.Forget)
	return []any{c.Owner[:], lease, forget, lease, forget, []byte(c.Key.Scope), []byte(c.Key.ID), seen.fence}
}
