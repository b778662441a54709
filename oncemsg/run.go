package oncemsg

import (
	"bytes"
	"context"
	"errors"
	"runtime/debug"

	"github.com/oncehq/once"
)

// failureType is the media type of a recorded final failure.
const failureType = "text/plain; charset=utf-8"

// run runs the handler under a claim, ends the claim, and publishes.
func (c *Consumer) run(ctx context.Context, a *once.Attempt, m Message, h Handler) Decision {
	t := c.newTurn(a)
	// Goexit goes on after this. It changes nothing if the attempt has ended.
	defer a.Abandon(errGoexit)
	err := call(t, m, h)
	d, outputs := c.record(ctx, t, m, err)
	return c.publish(ctx, d, outputs)
}

// call runs the handler. A panic becomes an error.
func call(ctx context.Context, m Message, h Handler) (err error) {
	defer recovered(&err)
	return h(ctx, m)
}

// recovered is deferred: it turns a panic into an error.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// record ends the claim as the error of the handler says. It returns what is to be published now.
func (c *Consumer) record(ctx context.Context, t *turn, m Message, err error) (Decision, []Output) {
	a, outputs := t.attempt, t.close()
	switch _, final := errors.AsType[*once.FinalError](err); {
	case final:
		return c.rejected(a, m, Rejected, err), nil
	case once.IsNoEffect(err):
		a.Release()
		return c.again(a.Number(), m, err), nil
	case err != nil:
		a.Abandon(err)
		return c.failed(a, m, err), nil
	}
	switch err := a.CompleteFor(encodeOutputs(outputs), c.cfg.Window); {
	case errors.Is(err, once.ErrTooLarge):
		return c.tooLarge(ctx, a, m, outputs, err), nil
	case err != nil:
		return c.unrecorded(a, m, err), nil
	}
	return Decision{Kind: Ran, Verb: Ack, Attempt: a.Number()}, outputs
}

// shortFailure is how much of a failure's text every store can keep, in bytes.
const shortFailure = 500

// rejected is for a message that has failed for good, as its copies will be told.
func (c *Consumer) rejected(a *once.Attempt, m Message, kind Kind, err error) Decision {
	failure := once.Outcome{Failed: true, Type: failureType, Data: []byte(err.Error())}
	unrecorded := a.CompleteFor(failure, c.cfg.Window)
	if errors.Is(unrecorded, once.ErrTooLarge) && len(failure.Data) > shortFailure {
		failure.Data = bytes.ToValidUTF8(failure.Data[:shortFailure], nil)
		unrecorded = a.CompleteFor(failure, c.cfg.Window)
	}
	if unrecorded != nil {
		return c.unrecorded(a, m, unrecorded)
	}
	return Decision{Kind: kind, Verb: DeadLetter, Attempt: a.Number(), Err: err}
}

// again is for a message to be handled again. Attempts that do not count make it wait longer
// nevertheless, if the broker counts.
func (c *Consumer) again(attempts int, m Message, err error) Decision {
	after := c.cfg.Backoff(max(attempts, m.Attempt))
	return Decision{Kind: Failed, Verb: Retry, After: after, Attempt: attempts, Err: err}
}

// failed is for a handler of which nobody knows what it did.
func (c *Consumer) failed(a *once.Attempt, m Message, err error) Decision {
	attempts := a.Number()
	if c.cfg.Mode == InTransaction {
		attempts = max(attempts, m.Attempt, c.tally.failed(a.Key())) // its record was rolled back
	}
	return c.tried(attempts, m, err)
}

// tried is for a message that has failed so often.
func (c *Consumer) tried(attempts int, m Message, err error) Decision {
	if attempts >= c.maxAttempts {
		return Decision{Kind: Poisoned, Verb: DeadLetter, Attempt: attempts, Err: err}
	}
	return c.again(attempts, m, err)
}

// unrecorded is for a handler that has returned but whose outcome the store did not acknowledge.
func (c *Consumer) unrecorded(a *once.Attempt, m Message, err error) Decision {
	switch {
	case errors.Is(err, once.ErrRolledBack): // which is not the message's fault
		return c.again(a.Number(), m, err)
	case once.IsNoEffect(err):
		return c.failed(a, m, err)
	}
	after := c.cfg.Guard.Config().Lease
	return Decision{Kind: Unacknowledged, Verb: Retry, After: after, Attempt: a.Number(), Err: err}
}

// tooLarge is for outputs that are more than the store can keep. They are sent first, and the
// record says only that the message is done: so a crash between runs the handler again, and a
// copy that comes later does not send them again. In a transaction nothing may be sent that may
// still be rolled back; there the message is dead-lettered.
func (c *Consumer) tooLarge(
	ctx context.Context, a *once.Attempt, m Message, outputs []Output, tooLarge error,
) Decision {
	if c.cfg.Mode == InTransaction || c.cfg.RecordFirst || len(outputs) == 0 {
		a.Abandon(tooLarge)
		return Decision{Kind: Rejected, Verb: DeadLetter, Attempt: a.Number(), Err: tooLarge}
	}
	if err := c.send(ctx, outputs); err != nil {
		if _, final := errors.AsType[*once.FinalError](err); final {
			return c.rejected(a, m, Unpublished, err)
		}
		a.Abandon(err)
		return c.failed(a, m, err)
	}
	if err := a.CompleteFor(once.Outcome{}, c.cfg.Window); err != nil {
		return c.unrecorded(a, m, err)
	}
	return Decision{Kind: Ran, Verb: Ack, Attempt: a.Number()}
}
