package oncemsg

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/oncehq/once"
)

// failureType is the media type of a recorded final failure.
const failureType = "text/plain; charset=utf-8"

// run runs the handler under a claim, and ends the claim.
func (c *Consumer) run(ctx context.Context, a *once.Attempt, m Message, h Handler) Decision {
	// Goexit goes on after this. It changes nothing if the attempt has ended.
	defer a.Abandon(errGoexit)
	t := turn{Context: a.Context(), attempt: a, emits: c.cfg.Publish != nil}
	err := call(&t, m, h)
	outputs := t.close()
	switch _, final := errors.AsType[*once.FinalError](err); {
	case final:
		failure := once.Outcome{Failed: true, Type: failureType, Data: []byte(err.Error())}
		if lost := a.CompleteFor(failure, c.cfg.Window); lost != nil {
			return c.unrecorded(a, m, lost)
		}
		return Decision{Kind: Rejected, Verb: DeadLetter, Err: err}
	case once.IsNoEffect(err):
		a.Release()
		return Decision{Kind: Failed, Verb: Retry, After: c.cfg.Backoff(a.Number()), Err: err}
	case err != nil:
		a.Abandon(err)
		return c.failed(a, m, err)
	}
	out, err := encodeOutputs(outputs)
	if err == nil {
		err = a.CompleteFor(out, c.cfg.Window)
	}
	if errors.Is(err, once.ErrTooLarge) {
		return c.tooLarge(ctx, a, m, outputs, err)
	}
	if err != nil {
		return c.unrecorded(a, m, err)
	}
	return c.publish(ctx, Decision{Kind: Ran, Verb: Ack, Attempt: a.Number()}, outputs)
}

// call runs the handler. A panic becomes an error.
func call(ctx context.Context, m Message, h Handler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h(ctx, m)
}

// failed is for a handler of which nobody knows what it did.
func (c *Consumer) failed(a *once.Attempt, m Message, err error) Decision {
	attempts := a.Number()
	if c.cfg.Mode == InTransaction {
		attempts = max(attempts, m.Attempt) // its record was rolled back, and with it the count
	}
	if attempts >= c.maxAttempts {
		return Decision{Kind: Poisoned, Verb: DeadLetter, Err: err}
	}
	return Decision{Kind: Failed, Verb: Retry, After: c.cfg.Backoff(attempts), Err: err}
}

// unrecorded is for a handler that has returned but whose outcome the store did not acknowledge.
func (c *Consumer) unrecorded(a *once.Attempt, m Message, err error) Decision {
	if once.IsNoEffect(err) {
		return c.failed(a, m, err)
	}
	return Decision{Kind: Unacknowledged, Verb: Retry, After: c.cfg.Guard.Config().Lease, Err: err}
}

// tooLarge is for outputs that are more than the store can keep. They are sent first, and the
// record says only that the message is done: so a crash between runs the handler again, and a
// copy that comes later does not send them again. In a transaction nothing may be sent that may
// still be rolled back; there the message fails for good.
func (c *Consumer) tooLarge(ctx context.Context, a *once.Attempt, m Message, outputs []Output, err error) Decision {
	if c.cfg.Mode == InTransaction || len(outputs) == 0 {
		a.Abandon(err)
		return Decision{Kind: Rejected, Verb: DeadLetter, Err: err}
	}
	if err := c.cfg.Publish(ctx, outputs); err != nil {
		a.Abandon(err)
		return c.failed(a, m, err)
	}
	if err := a.CompleteFor(once.Outcome{}, c.cfg.Window); err != nil {
		return c.unrecorded(a, m, err)
	}
	return Decision{Kind: Ran, Verb: Ack}
}
