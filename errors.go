package once

import (
	"errors"
	"time"
)

// Errors of stores and of the guard. Test for them with errors.Is; those of a guard come wrapped
// in a [*KeyError].
var (
	// ErrInFlight: another caller is running the operation. Try again later.
	ErrInFlight = errors.New("once: operation is in flight")

	// ErrInDoubt: an attempt ended without saying what happened, and the policy is not to run
	// the operation again. Somebody has to find out and to complete or release the record.
	ErrInDoubt = errors.New("once: operation is in doubt")

	// ErrMismatch: the key was used before for something else. Trying again does not help.
	ErrMismatch = errors.New("once: key was used for a different request")

	// ErrLost: the caller does not own the operation, or no longer.
	ErrLost = errors.New("once: ownership of the operation is lost")

	// ErrNotFound: the store has no record of the operation.
	ErrNotFound = errors.New("once: operation is not recorded")

	// ErrFull: the store has no room for another claim. Nothing was claimed.
	ErrFull = errors.New("once: store is full")

	// ErrTooLarge: the outcome is larger than the store can keep. Nothing was recorded.
	ErrTooLarge = errors.New("once: outcome is too large for the store")

	// ErrUnreadable: the record exists, but what is stored of it is damaged.
	ErrUnreadable = errors.New("once: record is unreadable")

	// ErrRolledBack: the transaction in which the operation ran was rolled back, and the claim
	// with it. Nothing happened; the operation may be run again.
	ErrRolledBack = errors.New("once: operation was rolled back")

	// ErrClosed: the store is closed.
	ErrClosed = errors.New("once: store is closed")
)

// A KeyError says which operation an error is about. Its text leaves the key out, since errors
// get logged and whoever knows a key may be given the stored outcome.
type KeyError struct {
	Key Key
	Err error // one of this package's, or the store's

	// RetryAfter is how long the present lease still runs if Err is ErrInFlight, else zero.
	RetryAfter time.Duration

	// Attempt is that of the record in doubt if Err is ErrInDoubt, else zero.
	Attempt int
}

func (e *KeyError) Error() string { return e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }

// Final marks err as the operation's final failure: it is recorded and every later caller gets
// it, like a result. Final(nil) is nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &FinalError{Message: err.Error(), err: err}
}

// A FinalError is a recorded failure of an operation. The first caller's wraps the error that was
// given to [Final]; a replayed one has only its text.
type FinalError struct {
	Message string // of the whole error that the first caller got
	err     error
}

func (e *FinalError) Error() string { return e.Message }
func (e *FinalError) Unwrap() error { return e.err }

// NoEffect marks err with the assertion that nothing happened: the claim is released, and the
// next caller may run the operation. NoEffect(nil) is nil.
//
// Mark only errors from before the effect could have begun. A time-out of the effect is not one.
func NoEffect(err error) error {
	if err == nil {
		return nil
	}
	return &noEffectError{err}
}

type noEffectError struct{ err error }

func (e *noEffectError) Error() string { return e.err.Error() }
func (e *noEffectError) Unwrap() error { return e.err }

// A nestedError is what an operation within another one returns for an error that says that
// nothing happened: it is true of the inner operation and not of the outer one, which would
// otherwise be released although it has had effects of its own.
type nestedError struct{ err error }

func (e *nestedError) Error() string { return e.err.Error() }

func (e *nestedError) Is(target error) bool {
	return target != ErrRolledBack && errors.Is(e.err, target)
}

func (e *nestedError) As(target any) bool {
	_, mark := target.(**noEffectError)
	return !mark && errors.As(e.err, target)
}

// IsNoEffect reports whether err was marked by [NoEffect] or is ErrRolledBack.
func IsNoEffect(err error) bool {
	_, marked := errors.AsType[*noEffectError](err)
	return marked || errors.Is(err, ErrRolledBack)
}
