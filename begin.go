package once

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	claimTries = 3                    // of a claim whose fate is unknown, before the caller is told
	firstPause = 2 * time.Millisecond // between two tries or polls; doubles
	lastPause  = 250 * time.Millisecond
	giveUpTime = time.Second // for releasing a claim that may have been made
)

// Begin claims the operation for the caller, or finds out what stands in the way.
//
// If it was done before, [Attempt.Replay] has the outcome and nothing remains to be done.
// Otherwise the caller is the owner: it runs the operation under [Attempt.Context] and must then
// call exactly one of [Attempt.Complete], [Attempt.CompleteFor], [Attempt.Release] and
// [Attempt.Abandon].
//
// The error is a [*KeyError] around ErrInFlight, ErrInDoubt, ErrMismatch or an error of the
// store, after which nothing may be run.
//
// Begin is what every door is built on; most callers want [Do].
func (g *Guard) Begin(ctx context.Context, k Key, fp Fingerprint) (*Attempt, error) {
	return g.begin(ctx, k, fp, g.terms())
}

// BeginDetached is like [Guard.Begin] for an operation that goes on when its caller is gone: the
// end of ctx ends the wait for another owner, but neither a claim under way nor what follows.
// [Attempt.Context] has the values of ctx, not its end or its deadline.
func (g *Guard) BeginDetached(ctx context.Context, k Key, fp Fingerprint) (*Attempt, error) {
	terms := g.terms()
	terms.detached = true
	return g.begin(ctx, k, fp, terms)
}

// claimTerms are what differs between an operation, a step and a lock.
type claimTerms struct {
	wait     time.Duration
	takeover int
	forget   time.Duration
	detached bool // the operation outlives the caller's context
}

// terms are those of an operation.
func (g *Guard) terms() claimTerms {
	return claimTerms{wait: g.cfg.Wait, takeover: g.takeover, forget: g.forget}
}

func (g *Guard) begin(ctx context.Context, k Key, fp Fingerprint, terms claimTerms) (*Attempt, error) {
	start := time.Now()
	a, err := g.claimOrWait(ctx, k, fp, terms, start)
	g.tellBegun(ctx, k, a, err, start)
	return a, err
}

// tellBegun tells the observer what came of beginning an operation. If that panics, the caller is
// not given the attempt, so it must not go on holding the claim.
func (g *Guard) tellBegun(ctx context.Context, k Key, a *Attempt, err error, start time.Time) {
	if g.cfg.Observe == nil {
		return
	}
	e := Event{Kind: Claimed, Key: k, Err: err, Duration: time.Since(start)}
	switch {
	case err != nil:
		e.Kind = Refused
	case a.ownership == nil:
		e.Kind, e.Attempt = Replayed, a.rec.Attempt
	default:
		e.Attempt = a.rec.Attempt
		told := false
		defer func() {
			if !told {
				a.giveUp()
			}
		}()
		g.cfg.Observe(ctx, e)
		told = true
		return
	}
	g.cfg.Observe(ctx, e)
}

func (g *Guard) claimOrWait(ctx context.Context, k Key, fp Fingerprint, terms claimTerms, start time.Time) (*Attempt, error) {
	if err := k.Check(); err != nil {
		return nil, &KeyError{Key: k, Err: err}
	}
	w := waiting{g: g, k: k, until: after(start, terms.wait)}
	if rec, ok := g.cache.get(k); ok {
		if !fp.Matches(rec.Fingerprint) {
			return nil, &KeyError{Key: k, Err: ErrMismatch}
		}
		return g.replayOf(rec), nil
	}
	call := &lazyContext{parent: ctx, detached: terms.detached}
	c := Claim{Key: k, Fingerprint: fp, Owner: NewOwner(), Lease: g.cfg.Lease, Takeover: terms.takeover, Forget: terms.forget}
	for {
		// Somebody in this process may own the operation: then no store need be asked.
		if f := g.flights.get(k); f != nil {
			if !fp.Matches(f.a.rec.Fingerprint) {
				return nil, &KeyError{Key: k, Err: ErrMismatch}
			}
			if err := w.flight(ctx, f); err != nil {
				return nil, err
			}
			if f.hasOutcome {
				return g.replayOf(Record{Key: k, State: Done, Attempt: f.a.rec.Attempt, Outcome: f.outcome}), nil
			}
			start = time.Now() // the wait must not count as a part of the lease
		}
		if err := ctx.Err(); err != nil {
			return nil, &KeyError{Key: k, Err: context.Cause(ctx)}
		}
		rec, sent, err := g.claim(call, c, start)
		switch {
		case errors.Is(err, ErrInFlight): // a store in which the claim itself waits, and has waited
			err = w.record(ctx, Record{Lease: g.cfg.Lease})
			if err != nil {
				return nil, err
			}
			c.Owner = NewOwner() // the last one may have been disowned
		case err != nil:
			return nil, &KeyError{Key: k, Err: err}
		case rec.Won(c):
			return g.takeOff(ctx, rec, fp, sent, terms.detached), nil
		case rec.State == Done:
			g.cache.put(rec, sent)
			return g.replayOf(rec), nil
		case rec.State == InDoubt && rec.Owner == c.Owner:
			// Our own claim, whose replies were lost for longer than its lease. Nothing ran
			// under it; an owner is not used twice.
			if err := g.disown(ctx, c); err != nil {
				return nil, &KeyError{Key: k, Err: err}
			}
			c.Owner = NewOwner()
		case rec.State == InDoubt:
			return nil, &KeyError{Key: k, Err: ErrInDoubt, Attempt: rec.Attempt}
		default:
			if err := w.record(ctx, rec); err != nil {
				return nil, err
			}
		}
		start = time.Now()
	}
}

// claim asks the store, again if it is unknown what came of it: the owner in the claim makes
// that safe. The first try is made with call, unless that was used before, and
// sent at that instant. It returns the instant before the try that
// was answered; the lease is over at the earliest Record.Lease after that.
func (g *Guard) claim(call *lazyContext, c Claim, sent time.Time) (Record, time.Time, error) {
	ctx := call.parent
	deadline := after(sent, c.Lease) // an answer that comes later is worth nothing
	unknown := false
	for try := 1; ; try++ {
		if call.over {
			call = &lazyContext{parent: ctx, detached: call.detached}
		}
		call.deadline = deadline
		rec, err := g.store.Claim(call, c)
		call.end(nil)
		if err == nil {
			return rec, sent, nil
		}
		// ErrLost is no answer to a claim: it is the cause for which the caller's context is done.
		if !isUnknown(err) && !errors.Is(err, ErrLost) {
			if unknown && !errors.Is(err, ErrMismatch) {
				g.disown(ctx, c)
			}
			return Record{}, sent, err
		}
		unknown = true
		if try == claimTries || !time.Now().Before(deadline) || g.cfg.Pause(ctx, backoff(try)) != nil {
			g.disown(ctx, c)
			return Record{}, sent, err
		}
		sent = time.Now()
	}
}

// disown gives up a claim that may have been made although the caller was never told: nothing
// ran under it, and it must not stand in the way until its lease is over. If it may have been a
// takeover, the operation was in doubt before and stays so. It is tried once and not for long: the
// caller is waiting to hear that the store does not answer.
func (g *Guard) disown(ctx context.Context, c Claim) error {
	call := lazyContext{parent: ctx, detached: true, deadline: after(time.Now(), min(giveUpTime, c.Lease))}
	defer call.end(nil)
	var err error
	if c.Takeover > 0 {
		err = g.store.Renew(&call, c.Key, c.Owner, 0)
	} else {
		err = g.store.Release(&call, c.Key, c.Owner)
	}
	if errors.Is(err, ErrLost) || errors.Is(err, ErrNotFound) {
		return nil // there was none
	}
	return err
}

// replayOf returns an attempt at which nothing remains to be done.
func (g *Guard) replayOf(rec Record) *Attempt { return &Attempt{g: g, rec: rec} }

// takeOff returns an attempt that owns the operation.
func (g *Guard) takeOff(ctx context.Context, rec Record, asked Fingerprint, sent time.Time, detached bool) *Attempt {
	both := new(struct { // in one piece of memory
		a Attempt
		o ownership
	})
	a := &both.a
	a.g, a.rec, a.ownership = g, rec, &both.o
	a.parent, a.started, a.asked, a.flight.a = ctx, sent, asked, a
	a.ctx.parent, a.ctx.detached, a.ctx.attempt = ctx, detached, a
	a.bound = &a.ctx
	if g.binder != nil {
		a.bound = g.binder.Bind(a.bound, rec)
	}
	g.flights.put(rec.Key, &a.flight)
	expires := sent.Add(min(rec.Lease, g.cfg.Lease))
	g.flights.queue(&a.flight, expires, sent.Add(g.beatAfter()), g.tick)
	return a
}

// isUnknown reports whether err leaves open if the store carried the verb out.
func isUnknown(err error) bool {
	for _, known := range []error{ErrMismatch, ErrLost, ErrNotFound, ErrFull, ErrTooLarge, ErrUnreadable, ErrClosed, ErrInFlight} {
		if errors.Is(err, known) {
			return false
		}
	}
	return !IsNoEffect(err)
}

// backoff returns the pause after the given try: exponential with full jitter, so that callers
// who failed together do not come back together.
func backoff(try int) time.Duration {
	d := min(firstPause<<min(try-1, 20), lastPause)
	return d/2 + rand.N(d/2+1)
}
