package once

import (
	"context"
	"time"
)

// waiting is a caller's wait for an operation that another one is running.
type waiting struct {
	g     *Guard
	k     Key
	until time.Time // when the caller stops waiting
	polls int
	woken Owner // whose end the store has told us of
}

// flight waits until an owner in this process has ended its attempt.
func (w *waiting) flight(ctx context.Context, f *flight) error {
	left := time.Until(w.until)
	if left <= 0 {
		return &KeyError{Key: w.k, Err: ErrInFlight, RetryAfter: w.g.flights.lease(f)}
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-w.g.flights.done(f):
		return nil
	case <-ctx.Done():
		return &KeyError{Key: w.k, Err: context.Cause(ctx)}
	case <-t.C:
		return &KeyError{Key: w.k, Err: ErrInFlight, RetryAfter: w.g.flights.lease(f)}
	}
}

// record waits until the operation may have changed, or its lease is over. It returns an error
// when the caller has waited long enough.
func (w *waiting) record(ctx context.Context, rec Record) error {
	left := time.Until(w.until)
	if left <= 0 {
		return &KeyError{Key: w.k, Err: ErrInFlight, RetryAfter: max(rec.Lease, 0)}
	}
	w.polls++
	// The lease may be over a moment later by the store's clock than by ours.
	nap := min(left, min(rec.Lease, left)+time.Millisecond) // a lease may be endless
	if w.g.waiter == nil || w.polls == 1 || w.woken == rec.Owner {
		// The first poll comes soon in any case: it is likely that the owner is a caller in this
		// process who has not yet got round to saying so. And a store that woke us too early must
		// not make us spin.
		nap = min(nap, backoff(w.polls))
		w.woken = Owner{}
	} else {
		wctx, cancel := context.WithTimeout(ctx, nap)
		err := w.g.waiter.Wait(wctx, w.k, rec.Owner)
		over := wctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			w.woken = rec.Owner
			return nil
		case ctx.Err() != nil:
			return &KeyError{Key: w.k, Err: context.Cause(ctx)}
		case over:
			return nil
		}
		nap = min(nap, backoff(w.polls)) // the store cannot tell us; ask it
	}
	if w.g.cfg.Pause(ctx, nap) != nil && ctx.Err() != nil {
		return &KeyError{Key: w.k, Err: context.Cause(ctx)}
	}
	return nil
}
