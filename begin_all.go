package once

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Request is one operation of [Guard.BeginAll].
type Request struct {
	Key         Key         // Required.
	Fingerprint Fingerprint // zero: not compared
}

// A Begun is what [Guard.BeginAll] returns for one request, and what [Guard.Begin] would.
type Begun struct {
	Attempt *Attempt
	Err     error
}

// BeginAll is [Guard.Begin] for many operations. Their claims take one round trip if the store is
// a [Batcher], and are made one after the other if not. The results are in the order of the
// requests. Each operation stands for itself: each owner must end its attempt.
//
// It does not wait for operations in flight. Of requests with the same key only the first can win.
func (g *Guard) BeginAll(ctx context.Context, requests []Request) []Begun {
	terms := g.terms()
	terms.wait = 0
	b := batchBegin{g: g, ctx: ctx, requests: requests, begun: make([]Begun, len(requests))}
	returned := false
	defer func() {
		if !returned {
			b.abort()
		}
	}()
	if batcher, ok := g.store.(Batcher); ok && len(requests) > 1 {
		b.prepare(terms)
		b.tell()
		b.ask(batcher)
	} else {
		b.each(terms)
	}
	returned = true
	return b.begun
}

// A batchBegin is the state of one call of BeginAll. Requests whose fate is unknown are sent
// again: the owner in the claim makes that safe.
type batchBegin struct {
	g        *Guard
	ctx      context.Context
	requests []Request
	begun    []Begun
	started  time.Time

	claims []Claim // still to be answered
	of     []int   // the request of each

	untold []int // requests that are answered, but not to the observer
}

// abort is for a panic of the observer, or whatever else keeps the caller from getting what was
// begun: nobody would end it.
func (b *batchBegin) abort() {
	var given sync.WaitGroup
	for _, begun := range b.begun {
		if a := begun.Attempt; a != nil && a.ownership != nil {
			given.Go(a.giveUp)
		}
	}
	for _, c := range b.claims {
		given.Go(func() { b.g.disown(b.ctx, c) })
	}
	given.Wait()
}

// each begins one operation after the other. When the store has failed to answer for one, it is not
// asked for the others: each could take as long to be refused.
func (b *batchBegin) each(terms claimTerms) {
	var down error
	for i, r := range b.requests {
		if down != nil {
			b.refuse(i, &KeyError{Key: r.Key, Err: down})
			b.tell()
			continue
		}
		a, err := b.g.begin(b.ctx, r.Key, r.Fingerprint, terms)
		b.begun[i] = Begun{a, err}
		if err != nil && isUnknown(err) && !errors.Is(err, ErrInDoubt) && r.Key.Check() == nil {
			down = errors.Unwrap(err)
		}
	}
}

// prepare makes a claim for each request that the store has to be asked about.
func (b *batchBegin) prepare(terms claimTerms) {
	b.started = time.Now()
	seen := make(map[Key]bool, len(b.requests))
	for i, r := range b.requests {
		if err := r.Key.Check(); err != nil {
			b.refuse(i, &KeyError{Key: r.Key, Err: err})
			continue
		}
		if seen[r.Key] {
			b.refuse(i, &KeyError{Key: r.Key, Err: ErrInFlight, RetryAfter: b.g.cfg.Lease})
			continue
		}
		seen[r.Key] = true
		if b.known(i, r) {
			continue
		}
		b.of = append(b.of, i)
		b.claims = append(b.claims, Claim{
			Key: r.Key, Fingerprint: r.Fingerprint, Owner: NewOwner(),
			Lease: b.g.cfg.Lease, Takeover: terms.takeover, Forget: terms.forget,
		})
	}
}

// known answers a request that this process knows the answer of.
func (b *batchBegin) known(i int, r Request) bool {
	if rec, ok := b.g.cache.get(r.Key); ok {
		if r.Fingerprint.Matches(rec.Fingerprint) {
			b.finish(i, b.g.replayOf(rec), nil)
		} else {
			b.refuse(i, &KeyError{Key: r.Key, Err: ErrMismatch})
		}
		return true
	}
	f := b.g.flights.get(r.Key)
	if f == nil {
		return false
	}
	err := &KeyError{Key: r.Key, Err: ErrMismatch}
	if r.Fingerprint.Matches(f.a.rec.Fingerprint) {
		err.Err, err.RetryAfter = ErrInFlight, b.g.flights.lease(f)
	}
	b.refuse(i, err)
	return true
}

// ask sends the claims until all are answered, or the store is given up.
func (b *batchBegin) ask(batcher Batcher) {
	for try := 1; len(b.claims) > 0; try++ {
		failed := b.send(batcher, try > 1)
		switch {
		case failed == nil:
		case try == claimTries || b.ctx.Err() != nil:
			b.giveUp(failed)
		case b.g.cfg.Pause(b.ctx, backoff(try)) != nil:
			b.giveUp(context.Cause(b.ctx))
		}
		b.tell()
	}
}

// send sends the claims, and keeps those whose fate is unknown, for the reason that it returns.
func (b *batchBegin) send(batcher Batcher, again bool) (failed error) {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(b.ctx, b.g.cfg.Lease) // a later answer is worth nothing
	results := batcher.ClaimBatch(ctx, b.claims)
	cancel()
	claims, of := b.claims, b.of
	b.claims, b.of = nil, nil
	for n, c := range claims {
		switch i, err := of[n], results[n].Err; {
		case err == nil:
			b.answer(i, c, results[n].Record, sent)
		case isUnknown(err) || errors.Is(err, ErrLost): // see Guard.claim
			b.claims, b.of = append(b.claims, c), append(b.of, i)
			failed = err
		default:
			if again && !errors.Is(err, ErrMismatch) {
				b.g.disown(b.ctx, c) // it may have been made the time before
			}
			b.refuse(i, &KeyError{Key: c.Key, Err: err})
		}
	}
	return failed
}

// answer says what the store's answer to a claim means.
func (b *batchBegin) answer(i int, c Claim, rec Record, sent time.Time) {
	switch {
	case rec.Won(c):
		b.finish(i, b.g.takeOff(b.ctx, rec, c.Fingerprint, sent, false), nil)
	case rec.State == Done:
		b.g.cache.put(rec, sent)
		b.finish(i, b.g.replayOf(rec), nil)
	case rec.State == InDoubt && rec.Owner == c.Owner:
		// Our own claim, whose replies were lost for longer than its lease.
		err := b.g.disown(b.ctx, c)
		if err == nil {
			err = ErrInFlight // it is free at once
		}
		b.refuse(i, &KeyError{Key: c.Key, Err: err})
	case rec.State == InDoubt:
		b.refuse(i, &KeyError{Key: c.Key, Err: ErrInDoubt, Attempt: rec.Attempt})
	default:
		b.refuse(i, &KeyError{Key: c.Key, Err: ErrInFlight, RetryAfter: max(rec.Lease, 0)})
	}
}

// giveUp is for a store that does not answer. Claims that may have been made are given back,
// all at once: the caller is waiting to hear of it.
func (b *batchBegin) giveUp(err error) {
	var disowned sync.WaitGroup
	for n, c := range b.claims {
		disowned.Go(func() { b.g.disown(b.ctx, c) })
		b.refuse(b.of[n], &KeyError{Key: c.Key, Err: err})
	}
	disowned.Wait()
	b.claims, b.of = nil, nil
}

func (b *batchBegin) refuse(i int, err *KeyError) { b.finish(i, nil, err) }

func (b *batchBegin) finish(i int, a *Attempt, err error) {
	b.begun[i] = Begun{a, err}
	b.untold = append(b.untold, i)
}

// tell tells the observer what was finished since. It comes after all answers of a round trip were
// taken note of: should it panic, abort has to know of them.
func (b *batchBegin) tell() {
	untold := b.untold
	b.untold = nil
	for _, i := range untold {
		b.g.tellBegun(b.ctx, b.requests[i].Key, b.begun[i].Attempt, b.begun[i].Err, b.started)
	}
}
