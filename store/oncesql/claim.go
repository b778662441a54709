package oncesql

import (
	"cmp"
	"context"
	"time"

	"github.com/oncehq/once"
)

// Claim implements [once.Store].
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	if s.sql.lookAll != "" {
		var result [1]once.ClaimResult
		err := s.claimTogether(ctx, s.engine.(*mysqlEngine), []once.Claim{c}, result[:], []int{0})
		return result[0].Record, cmp.Or(err, result[0].Err)
	}
	ctx, cancel, err := s.enter(ctx)
	if err != nil {
		return once.Record{}, err
	}
	defer cancel()
	// Whatever makes another round necessary is the success of another claim; so there is an
	// end to them.
	for look := s.engine.looksFirst(); ; look = true {
		var r *row
		switch {
		case s.sql.insertOrSee != "":
			r = new(row)
			err = explain(s.engine.see(ctx, s.sql.insertOrSee, insertArgs(c), r.columns()...))
		case look:
			r, err = s.look(ctx, c.Key)
		}
		if err != nil {
			return once.Record{}, err
		}
		if r != nil {
			rec, settled, err := s.contest(ctx, c, r)
			if err == nil && settled && s.unsure(c, r, rec) {
				err = s.confirm(ctx)
			}
			if err != nil || settled {
				return rec, err
			}
			continue
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
	return won(c, c.Fingerprint, 1, fence, fence), nil // the fence is the time
}

// contest is for a claim of an operation of which there is a row, which may be its own. It reports whether the record
// is the answer, which may have to be confirmed yet; otherwise the row has changed, and has to be looked at again.
func (s *Store) contest(ctx context.Context, c once.Claim, r *row) (once.Record, bool, error) {
	switch {
	case r.over():
		fence, err := s.engine.change(ctx, s.sql.reclaim, reclaimArgs(c, r)...)
		return won(c, c.Fingerprint, 1, fence, fence), fence != 0, explain(err)
	case !r.matches(c.Fingerprint):
		return once.Record{}, true, once.ErrMismatch
	case r.inDoubt() && !r.ownedBy(c.Owner) && r.attempt < c.Takeover:
		fence, err := s.engine.change(ctx, s.sql.takeOver, takeOverArgs(c, r)...)
		return won(c, r.record(c.Key).Fingerprint, r.attempt+1, fence, r.created), fence != 0, explain(err)
	}
	return r.record(c.Key), true, nil
}

// won is the record that the claim has made, as it was at that moment: to read it would be
// another step, by which it may have changed.
func won(c once.Claim, fp once.Fingerprint, attempt int, fence, created int64) once.Record {
	return once.Record{
		Key: c.Key, Fingerprint: fp, Owner: c.Owner, State: once.InFlight,
		Attempt: attempt, Fence: uint64(fence), Created: time.UnixMicro(created), Lease: c.Lease,
	}
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
