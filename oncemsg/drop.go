package oncemsg

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

// drop marks the message as seen and then runs the handler. The mark is a claim that nobody may
// take over: it stays in doubt, which costs no second call, until it is forgotten at the end of
// the window.
func (c *Consumer) drop(ctx context.Context, k once.Key, m Message, h Handler) Decision {
	mark := once.Claim{
		Key: k, Fingerprint: c.fingerprint(m), Owner: once.NewOwner(),
		Lease: time.Millisecond, Forget: c.cfg.Window,
	}
	if mark.Forget == once.Forever {
		mark.Forget = 0
	}
	store := c.cfg.Guard.Store()
	switch rec, err := store.Claim(ctx, mark); {
	case err != nil:
		// It may have been marked although the reply was lost.
		say(ctx, func(ctx context.Context) error { return store.Release(ctx, k, mark.Owner) })
		return c.refused(err)
	case rec.Owner != mark.Owner:
		return Decision{Kind: Duplicate, Verb: Ack, Attempt: rec.Attempt}
	}
	t := turn{Context: ctx}
	err := call(&t, m, h)
	if err == nil {
		return Decision{Kind: Ran, Verb: Ack, Attempt: 1}
	}
	if _, final := errors.AsType[*once.FinalError](err); final {
		return Decision{Kind: Rejected, Verb: DeadLetter, Attempt: 1, Err: err}
	}
	say(ctx, func(ctx context.Context) error { return store.Release(ctx, k, mark.Owner) })
	return Decision{Kind: Failed, Verb: Retry, After: c.cfg.Backoff(m.Attempt), Attempt: 1, Err: err}
}
