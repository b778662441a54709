package oncenats

import (
	"context"
	"fmt"
	"slices"

	"github.com/oncehq/once"
)

// Claim implements [once.Store]. The claim and the question how the record stands travel together,
// so that a claim that is won and one that is answered by the standing record are one round trip
// each. To take over takes another one.
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	p, err := s.beginClaim(ctx, c)
	if err != nil {
		return once.Record{}, err
	}
	defer p.cancel()
	return s.endClaim(p)
}

// batchStep is how many claims travel together at most. A server drops requests when thousands wait.
const batchStep = 500

// ClaimBatch implements [once.Batcher]: what up to 500 claims send travels together.
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, 0, len(claims))
	for some := range slices.Chunk(claims, batchStep) {
		results = append(results, s.claimTogether(ctx, some)...)
	}
	return results
}

func (s *Store) claimTogether(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	pending := make([]*pendingClaim, len(claims))
	for i, c := range claims {
		pending[i], results[i].Err = s.beginClaim(ctx, c)
	}
	for i, p := range pending {
		if p != nil {
			results[i].Record, results[i].Err = s.endClaim(p)
			p.cancel()
		}
	}
	return results
}

// A pendingClaim is a claim of which the first flight is under way.
type pendingClaim struct {
	once.Claim
	ctx     context.Context
	cancel  context.CancelFunc
	subject string
	next    *entry // what was sent
	flight  flight
}

func (s *Store) beginClaim(ctx context.Context, c once.Claim) (*pendingClaim, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.bounded(ctx)
	if err := s.wire.ready(ctx); err != nil {
		cancel()
		return nil, explain("claim", err)
	}
	p := &pendingClaim{Claim: c, ctx: ctx, cancel: cancel, subject: s.target.subject(c.Key)}
	s.sendClaim(p, s.fresh(c), 0)
	return p, nil
}

// fresh returns the first state of a record.
func (s *Store) fresh(c once.Claim) *entry {
	return &entry{
		kind: claimed,
		rec: once.Record{
			Key:         c.Key,
			Fingerprint: c.Fingerprint,
			Owner:       c.Owner,
			Attempt:     1,
			Created:     s.clock.about(),
		},
		term:   c.Lease,
		forget: c.Forget,
	}
}

// sendClaim sends the state that makes the claim's owner that of the record, if the last one is
// still what it is expected to be, and asks how it stands if it is not.
func (s *Store) sendClaim(p *pendingClaim, next *entry, expected uint64) {
	p.next = next
	p.flight = s.look(p.subject)
	p.flight.write = s.write(p.subject, next, expected)
}

// endClaim carries the claim to its end.
func (s *Store) endClaim(p *pendingClaim) (once.Record, error) {
	for tries := 0; ; tries++ {
		seq, ok, err := s.written(p.ctx, p.flight.write)
		if ok || err != nil {
			s.wire.forget(p.flight.read)
		}
		if err != nil {
			return once.Record{}, explain("claim", err)
		}
		if ok {
			return s.won(p, seq), nil
		}
		stood, err := s.seen(p.ctx, p.flight)
		if err != nil {
			return once.Record{}, explain("claim", err)
		}
		next, expected, rec, err := s.decide(p.Claim, stood)
		if next == nil {
			return rec, err
		}
		if err := pause(p.ctx, tries); err != nil {
			return once.Record{}, explain("claim", err)
		}
		s.sendClaim(p, next, expected)
	}
}

// decide returns what the claim comes to if the record stands like this: a next state of the
// record, if that is still the expected one then, or else what to tell the caller.
func (s *Store) decide(c once.Claim, stood sight) (next *entry, expected uint64, _ once.Record, _ error) {
	e := stood.entry
	if e == nil {
		return s.fresh(c), 0, once.Record{}, nil
	}
	rec, stands := e.record(stood.now)
	if !stands {
		return s.fresh(c), e.seq, once.Record{}, nil
	}
	switch {
	case rec.Key != c.Key:
		return nil, 0, once.Record{}, fmt.Errorf("oncenats: claim: another key's record: %w", once.ErrUnreadable)
	case !rec.Fingerprint.Matches(c.Fingerprint):
		return nil, 0, once.Record{}, once.ErrMismatch
	case rec.State == once.InDoubt && rec.Owner != c.Owner && rec.Attempt < c.Takeover:
		next := s.fresh(c)
		next.rec.Fingerprint, next.rec.Created, next.rec.Attempt = rec.Fingerprint, rec.Created, rec.Attempt+1
		return next, e.seq, once.Record{}, nil
	}
	if rec.Owner == c.Owner && e.kind == claimed {
		s.held.put(e)
	}
	return nil, 0, rec, nil
}

// won returns the record of which the claim's owner has just become the owner.
func (s *Store) won(p *pendingClaim, seq uint64) once.Record {
	e := p.next
	e.seq, e.rec.Fence = seq, seq
	s.held.put(e)
	rec := e.rec
	rec.State, rec.Lease = once.InFlight, p.Lease
	return rec
}
