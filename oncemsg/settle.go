package oncemsg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once/retry"
)

// verbTime is how long the broker may take for one verb.
const verbTime = 10 * time.Second

// errNoAck: the message was given no Ack.
var errNoAck = errors.New("oncemsg: settle: message has no Verbs.Ack")

// Consume is [Consumer.Handle] and [Consumer.Settle]. The error is that of the broker; the
// message is delivered again then, and not run again if it is done.
func (c *Consumer) Consume(ctx context.Context, m Message, h Handler) (Decision, error) {
	stop := extendLease(ctx, m)
	d := c.handle(ctx, m, h)
	stop()
	return d, c.Settle(ctx, m, d)
}

// Settle tells the broker what was decided, by Message.Verbs. What is decided is said even when
// ctx is done. A broker that cannot dead-letter is asked to deliver again, later and later: nothing is lost.
// One that cannot delay a delivery is asked when it is time; meanwhile its lease is renewed.
func (c *Consumer) Settle(ctx context.Context, m Message, d Decision) error {
	if m.Verbs.Ack == nil {
		return errNoAck
	}
	switch {
	case d.Verb == Ack:
		return say(ctx, m.Verbs.Ack)
	case d.Verb == DeadLetter && m.Verbs.DeadLetter != nil:
		reason := fmt.Sprintf("%s: %v", d.Kind, d.Err)
		return say(ctx, func(ctx context.Context) error { return m.Verbs.DeadLetter(ctx, reason) })
	case d.Verb == DeadLetter:
		c.cfg.Logger.Error("oncemsg: message cannot be dead-lettered; set Config.DeadLetter",
			"subscriber", c.cfg.Subscriber, "kind", d.Kind.String(), "key", d.Key.String())
		d.After = c.cfg.Backoff(max(d.Attempt, m.Attempt))
	}
	if m.Verbs.Nak == nil {
		return nil
	}
	if !m.Verbs.Delays {
		stop := extendLease(ctx, m)
		err := retry.Sleep(ctx, d.After)
		stop()
		if err != nil {
			d.After = 0 // the consumer stops; another one may have it
		}
	}
	return say(ctx, func(ctx context.Context) error { return m.Verbs.Nak(ctx, d.After) })
}

// say tells the broker, also when the consumer is being stopped.
func say(ctx context.Context, verb func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verbTime)
	defer cancel()
	return verb(ctx)
}
