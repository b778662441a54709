package oncemsg

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

// drop marks the message as seen and then runs the handler.
func (c *Consumer) drop(ctx context.Context, k once.Key, fp once.Fingerprint, m Message, h Handler) Decision {
	if d, old := c.tooOld(ctx, k, m); old {
		return d
	}
	mark := c.mark(k, fp)
	if d, mine := c.marked(ctx, mark, c.claimMark(ctx, mark)); !mine {
		return d
	}
	t := turn{Context: ctx}
	return c.dropped(ctx, k, mark.Owner, m, call(&t, m, h))
}

// mark returns the claim that marks a message as seen. Nobody may take it over: when its lease
// is over it stays in doubt, which costs no second call, until it is forgotten at the end of the window.
func (c *Consumer) mark(k once.Key, fp once.Fingerprint) once.Claim {
	mark := once.Claim{Key: k, Fingerprint: fp, Owner: once.NewOwner(), Lease: time.Millisecond}
	if c.cfg.Window != once.Forever {
		mark.Forget = c.cfg.Window
	}
	return mark
}

// claimMarks marks many messages, in one round trip if the store can.
func (c *Consumer) claimMarks(ctx context.Context, marks []once.Claim) []once.ClaimResult {
	if b, ok := c.cfg.Guard.Store().(once.Batcher); ok && len(marks) > 1 {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Guard.Config().Lease)
		defer cancel()
		return b.ClaimBatch(ctx, marks)
	}
	results := make([]once.ClaimResult, len(marks))
	for i, mark := range marks {
		if i > 0 && results[i-1].Err != nil && !errors.Is(results[i-1].Err, once.ErrMismatch) {
			results[i] = results[i-1] // each could take as long to be refused
			continue
		}
		results[i] = c.claimMark(ctx, mark)
	}
	return results
}

func (c *Consumer) claimMark(ctx context.Context, mark once.Claim) once.ClaimResult {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Guard.Config().Lease)
	defer cancel()
	rec, err := c.cfg.Guard.Store().Claim(ctx, mark)
	return once.ClaimResult{Record: rec, Err: err}
}

// marked reports whether the mark is the caller's, and else what that means.
func (c *Consumer) marked(ctx context.Context, mark once.Claim, res once.ClaimResult) (Decision, bool) {
	switch {
	case res.Err != nil:
		if !errors.Is(res.Err, once.ErrMismatch) && !errors.Is(res.Err, once.ErrFull) {
			c.unmark(ctx, mark.Key, mark.Owner) // it may have been made although the reply was lost
		}
		return c.refused(res.Err), false
	case res.Record.Owner != mark.Owner:
		return Decision{Kind: Duplicate, Verb: Ack, Attempt: res.Record.Attempt}, false
	}
	return Decision{}, true
}

// dropped says what it means that the handler has returned.
func (c *Consumer) dropped(ctx context.Context, k once.Key, mark once.Owner, m Message, err error) Decision {
	if err == nil {
		return Decision{Kind: Ran, Verb: Ack, Attempt: 1}
	}
	if _, final := errors.AsType[*once.FinalError](err); final {
		return Decision{Kind: Rejected, Verb: DeadLetter, Attempt: 1, Err: err}
	}
	c.unmark(ctx, k, mark)
	if once.IsNoEffect(err) {
		return c.again(1, m, err)
	}
	return c.tried(max(m.Attempt, c.tally.failed(k)), m, err)
}

// unmark lets the next copy be handled. If the store does not answer, that is lost.
func (c *Consumer) unmark(ctx context.Context, k once.Key, mark once.Owner) {
	say(ctx, func(ctx context.Context) error { return c.cfg.Guard.Store().Release(ctx, k, mark) })
}
