package once

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
)

// stepScope is appended to the scope of an operation for that of its steps. No key of a caller
// gets there by chance, so that nobody can read a step's result by asking for an operation.
const stepScope = "\x00step"

// Step runs fn once within the operation under which ctx runs, whatever the number of attempts:
// when the operation is run again, a step that was done is not, and returns what it returned
// then. Only the step that was running when an attempt broke off is in doubt.
//
// A step is an operation of its own. Its key is the operation's id + "/" + name; name must be
// unique within the operation, the same in each attempt, and without a slash. Its outcome is
// kept as long as the guard's retention. Errors mean what they mean in [Do].
func Step[T any](ctx context.Context, name string, fn func(context.Context) (T, error)) (T, error) {
	var zero T
	a, ok := FromContext(ctx)
	switch {
	case !ok:
		return zero, errors.New("once: step outside of an operation; use the context that the operation was given")
	case name == "":
		return zero, errors.New("once: step has no name; give it one that is unique within the operation")
	case strings.Contains(name, "/"):
		return zero, fmt.Errorf("once: step name %q contains a slash; use another character", name)
	}
	k := Key{Scope: a.rec.Key.Scope, ID: a.rec.Key.ID + "/" + name}.within(stepScope)
	terms := claimTerms{
		// The step may still be leased to the attempt that this one took over from, for up to a
		// lease longer than the operation itself was.
		wait:     max(a.g.cfg.Wait, 2*a.g.cfg.Lease),
		takeover: 0,
		forget:   a.g.forget,
	}
	if a.g.cfg.InDoubt == Rerun {
		terms.takeover = math.MaxInt // the operation's own limit counts
	}
	return do(ctx, a.g, k, Fingerprint{}, terms, fn)
}
