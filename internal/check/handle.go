package check

import (
	"context"
	"time"

	"github.com/oncehq/once"
)

// A handle is a process's connection to the store. Each verb stops the caller and is carried out
// when the scheduler says so, or lost, or late.
type handle struct{ w *world }

var _ once.Store = handle{}

func (h handle) ask(ctx context.Context, r *request) *request {
	if r.err = ctx.Err(); r.err != nil {
		return r
	}
	r.caller = callerOf(ctx)
	h.w.ask(ctx, r)
	return r
}

// Claim implements [once.Store].
func (h handle) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	r := h.ask(ctx, &request{verb: claim, key: h.w.number(c.Key), claim: c, owner: c.Owner})
	return r.rec, r.err
}

// Renew implements [once.Store].
func (h handle) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	// The guard ends a lease in the caller's goroutine, and renews it in another one.
	return h.ask(ctx, &request{
		verb: renew, beat: lease > 0, key: h.w.number(k), owner: o, lasting: lease,
	}).err
}

// Complete implements [once.Store].
func (h handle) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	return h.ask(ctx, &request{
		verb: complete, key: h.w.number(k), owner: o, outcome: outcomeOf(out), lasting: retention,
	}).err
}

// Release implements [once.Store].
func (h handle) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return h.ask(ctx, &request{verb: release, key: h.w.number(k), owner: o}).err
}

// Load implements [once.Store].
func (h handle) Load(ctx context.Context, k once.Key) (once.Record, error) {
	r := h.ask(ctx, &request{verb: load, key: h.w.number(k)})
	return r.rec, r.err
}

// pause is the guard's Config.Pause. Time costs nothing: after an error the guard tries again at
// once, for every delay is covered by what the scheduler does before it serves the next try.
// A caller that polls for somebody else's outcome goes on when something has changed.
func (w *world) pause(ctx context.Context, _ time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	c := callerOf(ctx)
	if w.sc.timed {
		return c.pause(ctx)
	}
	if c.failing {
		return nil
	}
	w.ask(ctx, &request{caller: c, verb: nap, key: c.last})
	return ctx.Err()
}

// pause lets time pass. For how long must not depend on chance: a history is to be repeatable.
func (c *caller) pause(ctx context.Context) error {
	d := time.Duration(1+c.pauses%64)*time.Second + time.Duration(c.index)
	c.pauses++
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A waiter is a handle on a store that tells when an operation is no longer in flight.
type waiter struct{ handle }

var _ once.Waiter = waiter{}

// Wait implements [once.Waiter].
func (h waiter) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	w := h.w
	for {
		w.mu.Lock()
		now := w.clock()
		e := w.peek(w.index(k), now)
		if e.owner != o || e.state(now) != once.InFlight {
			w.mu.Unlock()
			return nil
		}
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
