package oncepg

import (
	"context"

	"github.com/oncehq/once"
)

// Claim implements [once.Store]. It takes one round trip, and another one if the claim takes
// the place of a record that is over or in doubt, or if what it finds has to be confirmed by a
// standby.
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	t := turn{sql: &s.sql.claiming, claim: c}
	for next := t.first(ctx); next != nil; next = t.next(ctx, next) {
		if err := s.batcher.do(next); err != nil {
			return once.Record{}, explain(err)
		}
	}
	return t.rec, t.err
}

// ClaimBatch implements [once.Batcher].
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	turns := make([]turn, len(claims))
	var calls []*call
	var of []int // the claims that the calls are for
	for i, c := range claims {
		if results[i].Err = c.Check(); results[i].Err == nil {
			turns[i] = turn{sql: &s.sql.claiming, claim: c}
			calls, of = append(calls, turns[i].first(ctx)), append(of, i)
		}
	}
	for len(calls) > 0 {
		var again []*call
		var still []int
		for n, err := range s.batcher.doAll(calls) {
			i := of[n]
			if err != nil {
				results[i].Err = explain(err)
				continue
			}
			if next := turns[i].next(ctx, calls[n]); next != nil {
				again, still = append(again, next), append(still, i)
				continue
			}
			results[i] = once.ClaimResult{Record: turns[i].rec, Err: turns[i].err}
		}
		calls, of = again, still
	}
	return results
}

// A turn is a claim on its way: which statement comes next, and what it came to.
type turn struct {
	sql   *claiming
	claim once.Claim

	rec once.Record
	err error
}

func (t *turn) first(ctx context.Context) *call {
	c := t.claim
	return t.call(ctx, t.sql.claim, fingerprintBytes(c.Fingerprint), ownerUUID(c.Owner),
		interval(c.Lease), forgetInterval(c.Forget))
}

func (t *turn) call(ctx context.Context, sql string, args ...any) *call {
	k := t.claim.Key
	args = append([]any{[]byte(k.Scope), []byte(k.ID)}, args...)
	return &call{ctx: ctx, key: k, sql: sql, args: args, row: new(row)}
}

// next looks at what a statement came to, and returns the one that has to follow, or nil if rec
// and err are the answer.
func (t *turn) next(ctx context.Context, was *call) *call {
	c, r := &t.claim, was.row
	switch {
	case !was.found:
		// Another claim was faster. It did what it was to do, so there is an end to this.
		return t.first(ctx)
	case was.sql == confirmation:
	case was.sql != t.sql.claim:
		t.rec = r.record(c.Key)
	case r.over():
		return t.call(ctx, t.sql.reclaim, fingerprintBytes(c.Fingerprint), ownerUUID(c.Owner),
			interval(c.Lease), forgetInterval(c.Forget), r.fence)
	case !r.matches(c.Fingerprint):
		t.err = once.ErrMismatch
	case r.inDoubt() && r.owner.Bytes != c.Owner && int(r.attempt) < c.Takeover:
		return t.call(ctx, t.sql.takeOver, ownerUUID(c.Owner),
			interval(c.Lease), forgetInterval(c.Forget), r.fence)
	default:
		t.rec = r.record(c.Key)
		if t.sql.confirm && !r.fresh.Bool && (t.rec.State == once.Done || t.rec.Won(*c)) {
			return confirmationCall(was.ctx, c.Key)
		}
	}
	return nil
}
