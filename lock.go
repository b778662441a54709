package once

import (
	"context"
	"errors"
	"math"
)

// lockScope keeps locks apart from operations: taking over a lock says nothing about an operation
// of the same key that is in doubt.
const lockScope = "\x00lock"

// errLockDone: somebody has completed the lock's record, which nothing here does.
var errLockDone = errors.New("once: lock was completed by an operator; forget its record to free it")

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
	if err := k.Check(); err != nil {
		return &KeyError{Key: k, Err: err}
	}
	k = k.within(lockScope)
	a, err := g.begin(ctx, k, Fingerprint{}, claimTerms{wait: g.cfg.Wait, takeover: math.MaxInt, forget: g.cfg.Lease})
	if err != nil {
		return err
	}
	if _, done := a.Replay(); done {
		return &KeyError{Key: k, Err: errLockDone}
	}
	defer a.CompleteFor(Outcome{}, 0)
	return fn(a.Context(), a.Fence())
}
