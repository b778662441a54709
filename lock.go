package once

import (
	"context"
	"math"
)

// Lock runs fn unless the same key is being run: then it returns a [*KeyError] around ErrInFlight, at
// once or after [Config.Wait]. Nothing is kept afterwards; the next caller runs again. The error of
// fn is returned as it is.
//
// The lock is a lease that is renewed while fn runs. That cannot exclude that two callers run at
// once: an owner that was asleep when its lease ran out does not know yet that another one took over
// (its context is cancelled when it wakes). Where that would do harm, hand the fence to the
// resource that is changed, and let it refuse smaller numbers than it has seen. A lock that was left behind by a
// crash is free when its lease is over, whatever the guard's policy.
func Lock(ctx context.Context, g *Guard, k Key, fn func(ctx context.Context, fence uint64) error) error {
	a, err := g.begin(ctx, k, Fingerprint{}, claimTerms{wait: g.cfg.Wait, takeover: math.MaxInt, forget: g.cfg.Lease})
	if err != nil {
		return err
	}
	if _, done := a.Replay(); done {
		return &KeyError{Key: k, Err: ErrMismatch} // an outcome is kept here: the key is not a lock's
	}
	defer a.Release()
	return fn(a.Context(), a.Fence())
}
