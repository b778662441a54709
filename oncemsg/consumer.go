package oncemsg

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

// A Consumer handles messages once. It may be used by many goroutines at once, and there may be
// many of one subscriber, in many processes.
type Consumer struct {
	cfg         Config
	maxAttempts int // after which a failed message is poisoned
	tally       tally
}

// New returns a consumer, or everything that is wrong with cfg.
func New(cfg Config) (*Consumer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Consumer{cfg: cfg, maxAttempts: cfg.Guard.Config().MaxAttempts}
	if c.maxAttempts == 0 { // under Hold
		c.maxAttempts = 1
		if cfg.Mode != ClaimRunDone {
			c.maxAttempts = once.DefaultMaxAttempts // there nothing is ever in doubt
		}
	}
	return c, nil
}

// Config returns the configuration with its defaults filled in.
func (c *Consumer) Config() Config { return c.cfg }

// CheckRetention reports that the window is shorter than what the broker keeps messages for. It is
// for adapters that learn the latter from the broker; see [Config.BrokerRetention].
func (c *Consumer) CheckRetention(broker time.Duration) error { return c.cfg.checkWindow(broker) }

// Key returns the key of the operation that the message is. Two messages with the same key are copies of
// each other. It returns false if the message has nothing that tells it from others.
func (c *Consumer) Key(m Message) (once.Key, bool) {
	k, _, err := c.key(m)
	return k, err == nil
}

// key returns the message's key, or why it has none.
func (c *Consumer) key(m Message) (k once.Key, weak bool, err error) {
	defer recovered(&err)
	id, ok := c.cfg.Key(m)
	if !ok || id.ID == "" {
		return once.Key{}, false, errUnnamed
	}
	return once.Key{Scope: c.cfg.Subscriber, ID: keyID(id, m.Replay)}, id.Weak, nil
}

// identify is key with the fingerprint, if there is one.
func (c *Consumer) identify(m Message) (k once.Key, weak bool, fp once.Fingerprint, err error) {
	k, weak, err = c.key(m)
	if err != nil || c.cfg.Fingerprint == nil {
		return k, weak, fp, err
	}
	defer recovered(&err)
	return k, weak, c.cfg.Fingerprint(m), nil
}

// Handle runs h for the message unless that was done before, and says what the broker has to be
// told; the adapter then tells it. Until it returns it renews both leases: the claim's, and the
// broker's by Message.Verbs.Extend.
//
// When ctx is done the handler should stop; what it has done is recorded nevertheless.
func (c *Consumer) Handle(ctx context.Context, m Message, h Handler) Decision {
	stop := extendLease(ctx, m)
	defer stop()
	return c.handle(ctx, m, h)
}

// handle is Handle for a message whose lease is being renewed.
func (c *Consumer) handle(ctx context.Context, m Message, h Handler) Decision {
	k, weak, fp, err := c.identify(m)
	var d Decision
	switch {
	case err != nil:
		d = unnamed(err)
	case c.cfg.Mode == DropOnlyMayLose:
		d = c.drop(ctx, k, fp, m, h)
	default:
		d = c.guarded(ctx, k, fp, m, h)
	}
	d.Key, d.Weak = k, weak
	return c.conclude(ctx, m, d)
}

// unnamed is for a message that nothing tells from others.
func unnamed(err error) Decision { return Decision{Kind: Unnamed, Verb: DeadLetter, Err: err} }

// reruns is how often a message is handled again at once because the database rolled its
// transaction back in favour of another one.
const reruns = 10

// guarded handles a message under the guard.
func (c *Consumer) guarded(ctx context.Context, k once.Key, fp once.Fingerprint, m Message, h Handler) Decision {
	if d, old := c.tooOld(ctx, k, m); old {
		return d
	}
	for run := 0; ; run++ {
		a, err := c.cfg.Guard.Begin(ctx, k, fp)
		if err != nil {
			return c.refused(err)
		}
		d := c.attempt(ctx, a, m, h)
		rolledBack := d.Kind == Failed && errors.Is(d.Err, once.ErrRolledBack)
		if !rolledBack || run == reruns || ctx.Err() != nil {
			return d
		}
	}
}

// attempt is for a message that was claimed or done before.
func (c *Consumer) attempt(ctx context.Context, a *once.Attempt, m Message, h Handler) Decision {
	out, done := a.Replay()
	if done {
		d, outputs := c.duplicate(a, out)
		return c.publish(ctx, d, outputs)
	}
	if d, old := c.forgotten(a, m); old {
		return d
	}
	return c.run(ctx, a, m, h)
}

// forgotten is for an old message whose record was there when tooOld looked for it, and is not any more:
// the claim has begun the operation anew.
func (c *Consumer) forgotten(a *once.Attempt, m Message) (Decision, bool) {
	if a.Number() > 1 || !c.isOld(m) {
		return Decision{}, false
	}
	a.Release()
	return Decision{Kind: TooOld, Verb: DeadLetter, Err: errTooOld}, true
}

// isOld reports whether the message must not be run without a record.
func (c *Consumer) isOld(m Message) bool {
	return c.cfg.TooOld > 0 && m.Replay == "" && !m.Time.IsZero() && time.Since(m.Time) >= c.cfg.TooOld
}

// tooOld looks for the record of a message that is older than is safe to run without one.
func (c *Consumer) tooOld(ctx context.Context, k once.Key, m Message) (Decision, bool) {
	if !c.isOld(m) {
		return Decision{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Guard.Config().Lease)
	defer cancel()
	switch _, err := c.cfg.Guard.Store().Load(ctx, k); {
	case err == nil:
		return Decision{}, false
	case errors.Is(err, once.ErrNotFound):
		return Decision{Kind: TooOld, Verb: DeadLetter, Err: errTooOld}, true
	default:
		return c.refused(err), true
	}
}

// refused says what it means that the message could not be claimed.
func (c *Consumer) refused(err error) Decision {
	d := Decision{Err: err}
	known, _ := errors.AsType[*once.KeyError](err)
	switch {
	case errors.Is(err, once.ErrInFlight):
		d.Kind, d.Verb, d.After = InFlight, Retry, c.cfg.Guard.Config().Lease
		if known != nil && known.RetryAfter > 0 {
			d.After = known.RetryAfter
		}
	case errors.Is(err, once.ErrInDoubt):
		d.Kind, d.Verb = Poisoned, DeadLetter
		if known != nil {
			d.Attempt = known.Attempt
		}
	case errors.Is(err, once.ErrUnreadable):
		d.Kind, d.Verb = Poisoned, DeadLetter
	case errors.Is(err, once.ErrMismatch):
		d.Kind, d.Verb = Mismatch, DeadLetter
	default:
		d.Kind, d.Verb, d.After = Unavailable, Retry, c.cfg.Backoff(1)
	}
	return d
}

// duplicate is for a message that was done before. It returns what is to be published again.
func (c *Consumer) duplicate(a *once.Attempt, out once.Outcome) (Decision, []Output) {
	d := Decision{Kind: Duplicate, Verb: Ack, Attempt: a.Number()}
	if out.Failed && out.Type == failureType {
		d.Kind, d.Verb, d.Err = Rejected, DeadLetter, &once.FinalError{Message: string(out.Data)}
		return d, nil
	}
	outputs, err := decodeOutputs(out)
	if err != nil {
		d.Kind, d.Verb, d.Err = Mismatch, DeadLetter, err
	}
	return d, outputs
}

// publish sends what was emitted, when it is recorded.
func (c *Consumer) publish(ctx context.Context, d Decision, outputs []Output) Decision {
	if len(outputs) == 0 {
		return d
	}
	err := c.send(ctx, outputs)
	switch _, final := errors.AsType[*once.FinalError](err); {
	case final:
		d.Kind, d.Verb, d.Err = Unpublished, DeadLetter, err
	case err != nil:
		d.Kind, d.Verb, d.After, d.Err = Unpublished, Retry, c.cfg.Backoff(d.Attempt), err
	}
	return d
}

// send calls Publish. A message whose outputs make it panic must not stop the consumer of all others.
func (c *Consumer) send(ctx context.Context, outputs []Output) (err error) {
	if c.cfg.Publish == nil {
		return errNoPublish
	}
	defer recovered(&err)
	return c.cfg.Publish(ctx, outputs)
}

// setAside calls DeadLetter, likewise.
func (c *Consumer) setAside(ctx context.Context, m Message, d Decision) (err error) {
	defer recovered(&err)
	return c.cfg.DeadLetter(ctx, m, d)
}

// conclude dead-letters, and tells the observer.
func (c *Consumer) conclude(ctx context.Context, m Message, d Decision) Decision {
	if d.Verb == DeadLetter && c.cfg.DeadLetter != nil {
		if err := c.setAside(ctx, m, d); err != nil {
			c.cfg.Logger.Error("oncemsg: message could not be dead-lettered and will be delivered again",
				"subscriber", c.cfg.Subscriber, "kind", d.Kind.String(), "key", d.Key.String(), "error", err)
			d.Verb, d.After = Retry, c.cfg.Backoff(d.Attempt)
		} else {
			d.Verb, d.DeadLettered = Ack, true
		}
	}
	if d.Verb == Ack && c.cfg.Mode != ClaimRunDone {
		c.tally.forget(d.Key)
	}
	c.observe(ctx, m, d)
	return d
}
