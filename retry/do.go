package retry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Do calls fn until it succeeds, fails with an error that is not marked by [Again], or the policy
// says stop. Then it returns what fn did, an unmarked error as it is and a marked one in a
// [*GiveUpError].
//
// fn must be safe to repeat. The context only ends the pauses; it is fn's business to heed it.
func Do[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error)) (T, error) {
	series := p.Start()
	for made := 1; ; made++ {
		v, err := fn(ctx)
		again, ok := errors.AsType[*againError](err)
		if !ok {
			return v, err
		}
		pause, stop := series.Next(ctx, again.atLeast)
		if stop == nil {
			stop = Sleep(ctx, pause)
		}
		if stop != nil {
			return v, &GiveUpError{Tries: made, Reason: stop, Err: err}
		}
	}
}

// Again marks err as one after which it is worth trying again, and no sooner than that, which is
// zero unless the server asked for it. Again of nil is nil.
func Again(err error, atLeast time.Duration) error {
	if err == nil {
		return nil
	}
	return &againError{err, atLeast}
}

type againError struct {
	err     error
	atLeast time.Duration
}

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

// A GiveUpError says that trying again came to an end without success. The operation may have
// happened, or may yet happen.
type GiveUpError struct {
	// Key is the idempotency key that the tries carried, or empty. Whoever goes on with the
	// operation later must use it again. The error's text leaves it out, since errors get logged
	// and whoever knows a key may be given the stored outcome.
	Key string

	Tries  int   // that were made
	Reason error // why there is not one more: of this package, or the cause of the context's end
	Err    error // of the last try
}

func (e *GiveUpError) Error() string {
	noun := "tries"
	if e.Tries == 1 {
		noun = "try"
	}
	gaveUp := fmt.Sprintf("retry: gave up after %d %s", e.Tries, noun)
	reason := strings.TrimPrefix(e.Reason.Error(), "retry: ")
	switch {
	case e.Err == nil:
		return gaveUp + ": " + reason
	case errors.Is(e.Err, e.Reason): // which says it already
		return gaveUp + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s (%s): %v", gaveUp, reason, e.Err)
}

// Unwrap returns both the error of the last try and the reason.
func (e *GiveUpError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Err, e.Reason}
}

// Timeout reports whether time had run out, as [net.Error] and [net/url.Error] have it.
func (e *GiveUpError) Timeout() bool {
	if errors.Is(e, context.DeadlineExceeded) || errors.Is(e.Reason, ErrElapsed) {
		return true
	}
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && t.Timeout()
}
