package once

import (
	"context"
	"errors"
	"fmt"
)

// textType is the media type of a recorded [FinalError].
const textType = "text/plain; charset=utf-8"

// reruns is how often Do runs an operation again within one call because the database rolled
// its transaction back.
const reruns = 10

// Do runs fn once for the key and returns what it came to, to this caller and every later one.
//
// What fn returns is classified: nil and [Final] errors are recorded and replayed; after
// [NoEffect] the key is free again; after any other error, a panic, or [runtime.Goexit] the
// operation is in doubt, and [Config.InDoubt] decides. The error comes back to this caller as it
// is. fn must run under the context it is given.
//
// Do itself returns, without fn being run, a [*KeyError] around ErrInFlight, ErrInDoubt,
// ErrMismatch or the store's error. If fn did run but its outcome was not acknowledged by the store, the
// error is a [*KeyError] too and the result is withheld: it could differ from what others are
// given. If another owner took over meanwhile and is done, Do returns that owner's outcome.
func Do[T any](ctx context.Context, g *Guard, k Key, fp Fingerprint, fn func(context.Context) (T, error)) (T, error) {
	return do(ctx, g, k, fp, g.terms(), fn)
}

func do[T any](ctx context.Context, g *Guard, k Key, fp Fingerprint, terms claimTerms, fn func(context.Context) (T, error)) (T, error) {
	for run := 0; ; run++ {
		a, err := g.begin(ctx, k, fp, terms)
		if err != nil {
			var zero T
			return zero, err
		}
		if out, done := a.Replay(); done {
			return decode[T](g, k, out)
		}
		v, err := runUnder(a, fn)
		if errors.Is(err, ErrRolledBack) && run < reruns && ctx.Err() == nil {
			continue
		}
		if _, nested := FromContext(ctx); nested && IsNoEffect(err) {
			err = &nestedError{err}
		}
		return v, err
	}
}

// runUnder runs fn under the attempt and ends the attempt.
func runUnder[T any](a *Attempt, fn func(context.Context) (T, error)) (v T, err error) {
	// A panic or Goexit, of fn or the codec, goes on after this. It changes nothing if the
	// attempt has ended.
	defer a.Abandon(errPanicked)
	v, err = fn(a.Context())

	var zero T
	if _, ok := errors.AsType[*FinalError](err); ok {
		if lost := a.Complete(Outcome{Failed: true, Type: textType, Data: []byte(err.Error())}); lost != nil {
			return afterLoss[T](a, lost)
		}
		return zero, err
	}
	switch {
	case err == nil:
	case IsNoEffect(err):
		a.Release()
		return v, err
	default:
		a.Abandon(err)
		return v, err
	}
	codec := a.g.cfg.Codec
	data, err := codec.Marshal(v)
	if err != nil {
		// The effect took place, but nobody can be told its result.
		err = fmt.Errorf("once: result of %T cannot be encoded as %s: %w", v, codec.Type(), err)
		a.Abandon(err)
		return zero, &KeyError{Key: a.rec.Key, Err: err}
	}
	if lost := a.Complete(Outcome{Type: codec.Type(), Data: data}); lost != nil {
		if errors.Is(lost, ErrTooLarge) {
			a.Abandon(lost)
		}
		return afterLoss[T](a, lost)
	}
	return v, nil
}

// afterLoss is for an owner whose outcome was not recorded: if another outcome was, it is the
// answer for this caller too.
func afterLoss[T any](a *Attempt, err error) (T, error) {
	var zero T
	if !errors.Is(err, ErrLost) {
		return zero, err
	}
	ctx := a.callContext(2)
	defer ctx.end(nil)
	rec, loadErr := a.g.store.Load(ctx, a.rec.Key)
	if loadErr != nil || rec.State != Done || !a.asked.Matches(rec.Fingerprint) {
		return zero, err
	}
	return decode[T](a.g, a.rec.Key, rec.Outcome)
}

func decode[T any](g *Guard, k Key, out Outcome) (T, error) {
	var v T
	switch {
	case out.Failed && out.Type == textType:
		return v, &FinalError{Message: string(out.Data)}
	case out.Failed || out.Type != g.cfg.Codec.Type():
		return v, &KeyError{Key: k, Err: fmt.Errorf(
			"once: recorded outcome is of type %q (failed: %t), which codec %q does not read; "+
				"use one scope for one kind of operation", out.Type, out.Failed, g.cfg.Codec.Type())}
	}
	if err := g.cfg.Codec.Unmarshal(out.Data, &v); err != nil {
		return v, &KeyError{Key: k, Err: fmt.Errorf("once: recorded outcome does not fit %T: %w", v, err)}
	}
	return v, nil
}
