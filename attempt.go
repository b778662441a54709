package once

import (
	"context"
	"errors"
	"sync"
	"time"
)

// An Attempt is what [Guard.Begin] returns: one owner's turn at an operation, or the outcome of
// an earlier one. Its methods may be called by several goroutines.
type Attempt struct {
	g          *Guard
	rec        Record
	*ownership // nil on a replay

	mu       sync.Mutex // guards the rest, and a part of the ownership; never held across I/O
	ordinals map[string]int
}

// An ownership is the part of an attempt that only an owner has.
type ownership struct {
	parent  context.Context // the caller's
	started time.Time
	asked   Fingerprint     // the caller's; the record may have been made without one
	bound   context.Context // the operation's: ctx, or what the store made of it
	ctx     lazyContext
	call    lazyContext // of the last verb; further tries make their own
	flight  flight      // guarded by the guard's flights

	// Guarded by the attempt's mutex.
	timer    *time.Timer // a renewal to be tried again, or the end of the lease; or nil
	stopBeat func()      // ends the renewal under way; or nil
	ended    bool        // somebody called Complete, Release or Abandon
	lost     bool
}

var (
	errEnded    = errors.New("once: attempt has ended already")
	errPanicked = errors.New("once: operation panicked")
)

// Replay returns the outcome, if the operation was done before; then nothing remains to be done.
// Otherwise the caller is the owner.
func (a *Attempt) Replay() (Outcome, bool) { return a.rec.Outcome, a.ownership == nil }

// Context is the context to run the operation under. It is done when the one given to Begin is,
// and, with the cause ErrLost, when the lease could not be renewed in time: then another caller
// may soon take over, and the operation should stop. It carries the attempt, for [Step],
// [DerivedID] and [FromContext], and what the store hands to the operation ([Binder]).
// It is nil on a replay.
func (a *Attempt) Context() context.Context {
	if a.ownership == nil {
		return nil
	}
	return a.bound
}

// Key returns the operation's key.
func (a *Attempt) Key() Key { return a.rec.Key }

// Number counts the operation's attempts, from 1. Above 1 somebody else has tried before, and
// nobody knows how far they got.
func (a *Attempt) Number() int { return a.rec.Attempt }

// Fence returns a number that grows with every claim of the key. A resource that refuses any
// number smaller than the greatest it has seen is safe from owners that have lost their lease.
func (a *Attempt) Fence() uint64 { return a.rec.Fence }

// Owner returns the nonce that proves the claim to the store.
func (a *Attempt) Owner() Owner { return a.rec.Owner }

// DerivedID is [Key.DerivedID] of the operation's key.
func (a *Attempt) DerivedID(name string) string { return a.rec.Key.DerivedID(name) }

// Ordinal returns how often it was called before with this name, and counts: it numbers what an
// attempt does several times in the same order as every other attempt, so that a derived id
// can be told from the next. All that call something in an attempt must count together.
func (a *Attempt) Ordinal(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ordinals == nil {
		a.ordinals = make(map[string]int)
	}
	n := a.ordinals[name]
	a.ordinals[name] = n + 1
	return n
}

// DerivedID is [Attempt.DerivedID] of the attempt under which ctx runs.
//
// It is EMPTY outside of an operation, such as in a handler whose request came without a key where
// none is required. An empty id is no id: a service that takes it for one does the first of all
// such requests and takes the others for its duplicates. Require keys, or use [FromContext], which
// says if there is an attempt, and make an id of another kind if there is none.
func DerivedID(ctx context.Context, name string) string {
	if a, ok := FromContext(ctx); ok {
		return a.DerivedID(name)
	}
	return ""
}

// Complete records the outcome, to be replayed for [Config.Retention]. Only when it has returned
// nil may the outcome be shown to anybody.
//
// It outlives the caller's context, and is tried again while the lease lives. ErrLost means that
// another owner has taken over, or an operator has intervened: the operation's outcome, if there
// is one, is not this one. ErrTooLarge means that nothing was recorded and that the attempt goes
// on: it may be completed with something smaller. ErrRolledBack means that nothing happened. After any
// other error it is unknown if the outcome was recorded.
func (a *Attempt) Complete(out Outcome) error { return a.CompleteFor(out, a.g.cfg.Retention) }

// CompleteFor is like Complete with a retention of its own. Zero keeps nothing: the next caller
// may run.
func (a *Attempt) CompleteFor(out Outcome, retention time.Duration) error {
	if err := a.end(); err != nil {
		return err
	}
	return a.completed(out, retention, a.write(retention == 0, func(ctx context.Context) error {
		return a.g.store.Complete(ctx, a.rec.Key, a.rec.Owner, out, retention)
	}))
}

// CompleteBy is like Complete for an outcome that the caller records itself, for example in a
// database transaction of its own, which record commits. The function is called once, under a
// context that outlives the caller's, and must return nil only if the store's record is done
// with this outcome.
func (a *Attempt) CompleteBy(out Outcome, record func(ctx context.Context) error) error {
	if err := a.end(); err != nil {
		return err
	}
	return a.completed(out, a.g.cfg.Retention, a.carryOut(1, record))
}

// completed takes note of what came of recording the outcome.
func (a *Attempt) completed(out Outcome, retention time.Duration, err error) error {
	switch {
	case err == nil && retention > 0:
		a.leave(&out)
		a.tell(Completed, nil)
	case err == nil:
		a.leave(nil)
		a.tell(Completed, nil)
	case errors.Is(err, ErrTooLarge):
		a.resume()
	case errors.Is(err, ErrLost):
		a.leave(nil)
		a.tell(OwnerLost, err)
	case errors.Is(err, ErrRolledBack):
		a.leave(nil)
		a.tell(Released, err)
	default:
		a.leave(nil)
		a.tell(Abandoned, err)
	}
	return a.wrap(err)
}

// Release gives the claim back: the caller asserts that nothing happened in this attempt, and
// the next one may run. It outlives the caller's context, and is tried again while the lease lives.
//
// If it was not the operation's first attempt, nobody knows what the earlier ones did: the record
// stays, in doubt, with its fingerprint and the number of its attempts.
func (a *Attempt) Release() error {
	if err := a.end(); err != nil {
		return err
	}
	err := a.write(true, func(ctx context.Context) error {
		if a.rec.Attempt > 1 {
			return a.g.store.Renew(ctx, a.rec.Key, a.rec.Owner, 0)
		}
		return a.g.store.Release(ctx, a.rec.Key, a.rec.Owner)
	})
	a.leave(nil)
	a.tell(Released, err)
	return a.wrap(err)
}

// Abandon ends the attempt without an outcome: the caller does not know if the operation
// happened. It is in doubt from now on, and the policy decides what the next caller may do. The
// cause is told to [Config.Observe]. If the store cannot be reached the same comes to pass when
// the lease is over; so it is tried only once.
func (a *Attempt) Abandon(cause error) error {
	if err := a.end(); err != nil {
		return err
	}
	err := a.carryOut(1, func(ctx context.Context) error {
		return a.g.store.Renew(ctx, a.rec.Key, a.rec.Owner, 0)
	})
	a.leave(nil)
	a.tell(Abandoned, cause)
	return a.wrap(err)
}

// giveUp releases an attempt under which nothing ran, without telling the observer, which has
// just panicked. If the store cannot be reached the operation is in doubt when the lease is over.
func (a *Attempt) giveUp() {
	if a.end() == nil {
		defer a.leave(nil)
		a.g.disown(a.parent, Claim{Key: a.rec.Key, Owner: a.rec.Owner, Lease: a.g.cfg.Lease, Takeover: a.rec.Attempt - 1})
	}
}

// write carries out the attempt's last verb, again and again while the lease lives if it is
// unknown what came of it. goneIsSuccess: after the verb there is no record, so that repeating
// it answers ErrLost.
func (a *Attempt) write(goneIsSuccess bool, verb func(context.Context) error) error {
	unknown := false
	for try := 1; ; try++ {
		err := a.carryOut(try, verb)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrLost) && unknown && goneIsSuccess && a.leaseLives():
			// Nobody can have taken over yet, so it was the earlier try that succeeded.
			return nil
		case !isUnknown(err) && !errors.Is(err, ErrFull):
			return err
		}
		unknown = true
		if !a.leaseLives() || a.g.cfg.Pause(context.WithoutCancel(a.parent), backoff(try)) != nil {
			return err
		}
	}
}

// carryOut makes one try of the attempt's last verb. If that panics, or ends the goroutine, those
// who wait for the attempt must not wait for ever.
func (a *Attempt) carryOut(try int, verb func(context.Context) error) error {
	ctx, returned := a.callContext(try), false
	defer func() {
		ctx.end(nil)
		if !returned {
			a.leave(nil)
		}
	}()
	err := verb(ctx)
	returned = true
	return err
}

// callContext is for one try of the attempt's last verb. It outlives the caller.
func (a *Attempt) callContext(try int) *lazyContext {
	ctx := &a.call
	if try > 1 || ctx.over {
		ctx = new(lazyContext)
	}
	ctx.parent, ctx.detached = a.parent, true
	ctx.deadline = time.Now().Add(a.g.beatAfter())
	return ctx
}

func (a *Attempt) leaseLives() bool { return a.g.flights.lease(&a.flight) > 0 }

// end marks the attempt as ended and stops its renewals.
func (a *Attempt) end() error {
	if a.ownership == nil {
		return errEnded
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errEnded
	}
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.stopBeat != nil {
		a.stopBeat()
	}
	return nil
}

// resume takes the end back.
func (a *Attempt) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = false
	a.timer = time.AfterFunc(0, a.beat) // it may have been due meanwhile
}

// leave tells the waiters in this process, and frees the context.
func (a *Attempt) leave(out *Outcome) {
	a.g.flights.land(a.rec.Key, &a.flight, out)
	a.ctx.end(nil)
}

func (a *Attempt) tell(kind EventKind, err error) {
	if a.g.cfg.Observe != nil {
		a.g.cfg.Observe(a.parent, Event{
			Kind: kind, Key: a.rec.Key, Attempt: a.rec.Attempt, Err: err, Duration: time.Since(a.started),
		})
	}
}

func (a *Attempt) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &KeyError{Key: a.rec.Key, Err: err}
}
