package oncenats

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/oncehq/once"
)

// Claim implements [once.Store]. The claim and the question how the record stands travel together,
// so that a claim that is won and one that is answered by the standing record are one round trip
// each. To take over takes another one, and so does it to be sure that a lease has run out.
func (s *Store) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	ctx, cancel, err := s.begin(ctx, "claim")
	if err != nil {
		return once.Record{}, err
	}
	defer cancel()
	return s.endClaim(ctx, s.beginClaim(c, s.clock.ask()))
}

// batchStep is how many claims travel together at most. A server drops requests when thousands wait.
const batchStep = 500

// ClaimBatch implements [once.Batcher]: what up to 500 claims send travels together. If the servers
// cannot be reached for as long as Config.Timeout, no more is tried.
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	var lost error
	for from := 0; from < len(claims); from += batchStep {
		to := min(from+batchStep, len(claims))
		lost = s.claimTogether(ctx, claims[from:to], results[from:to], lost)
	}
	return results
}

// claimTogether makes the claims, unless the servers are lost or get so, which it returns.
func (s *Store) claimTogether(
	ctx context.Context, claims []once.Claim, results []once.ClaimResult, lost error,
) error {
	cancel := func() {}
	if lost == nil {
		ctx, cancel, lost = s.begin(ctx, "claim")
	}
	defer cancel()
	var t question // all began before it
	if lost == nil {
		t = s.clock.ask()
	}
	pending := make([]*pendingClaim, len(claims))
	for i, c := range claims {
		if results[i].Err = cmp.Or(c.Check(), lost); results[i].Err == nil {
			pending[i] = s.beginClaim(c, t)
		}
	}
	for i, p := range pending {
		if p != nil {
			results[i].Record, results[i].Err = s.endClaim(ctx, p)
		}
	}
	return lost
}

// A pendingClaim is a claim of which a flight is under way.
type pendingClaim struct {
	once.Claim
	subject string
	next    *entry // what was sent
	flight  flight
}

func (s *Store) beginClaim(c once.Claim, t question) *pendingClaim {
	p := &pendingClaim{Claim: c, subject: s.target.subject(c.Key)}
	s.sendClaim(p, s.fresh(c), 0, t)
	return p
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
func (s *Store) sendClaim(p *pendingClaim, next *entry, expected uint64, t question) {
	p.next = next
	p.flight = s.look(p.subject, t)
	p.flight.write = s.write(p.subject, next, expected)
}

// endClaim carries the claim to its end. What has no room may still be told of the record that
// stands: a server that is full may say so before it looks for that.
func (s *Store) endClaim(ctx context.Context, p *pendingClaim) (once.Record, error) {
	for tries := 0; ; tries++ {
		seq, ok, err := s.written(ctx, p.flight.write)
		err = explain("claim", err)
		full := errors.Is(err, once.ErrFull)
		if ok || err != nil && !full {
			s.wire.forget(p.flight.read)
			if ok {
				return s.won(p, seq), nil
			}
			return once.Record{}, err
		}
		next, expected, rec, decision := s.answer(ctx, p)
		if next == nil {
			return rec, decision
		}
		if full {
			return once.Record{}, err
		}
		if err := pause(ctx, tries); err != nil {
			return once.Record{}, explain("claim", err)
		}
		s.sendClaim(p, next, expected, s.clock.ask())
	}
}

// answer decides what the claim comes to, now that its message was not taken.
func (s *Store) answer(ctx context.Context, p *pendingClaim) (*entry, uint64, once.Record, error) {
	stood, err := s.seen(ctx, p.flight)
	if err != nil {
		return nil, 0, once.Record{}, explain("claim", err)
	}
	next, expected, rec, decision := s.decide(p.Claim, stood)
	if rec.State != once.InDoubt {
		return next, expected, rec, decision
	}
	if stood, err = s.confirmed(ctx, p.subject, stood); err != nil {
		return nil, 0, once.Record{}, explain("claim", err)
	}
	return s.decide(p.Claim, stood)
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
