package oncemsg

import (
	"context"
	"fmt"
	"sync"

	"github.com/oncehq/once"
)

// An Item is one message of a batch that is to be handled.
type Item struct {
	Message

	// Context is that of this message's attempt: for [Emit], [once.Step] and [once.DerivedID].
	// It is done when the lease of this message is lost.
	Context context.Context
}

// A BatchHandler deals with many messages at once. It returns an error or nil for each, which mean
// what they do in a [Handler], or nil for all. After a panic nobody knows of any.
type BatchHandler func(ctx context.Context, items []Item) []error

// HandleBatch is [Consumer.Handle] for many messages: they are claimed in one round trip if the store
// is a [once.Batcher], and h is called once for those that are to be handled, in their order.
// Each message has a decision of its own, in the order of the messages. Copies within the batch
// are handled once.
//
// A crash leaves every message of the batch in doubt, also those that h has not come to; so a
// batch counts as an attempt at each. In mode [InTransaction], where each message has a transaction
// of its own, h is called for one after the other.
func (c *Consumer) HandleBatch(ctx context.Context, ms []Message, h BatchHandler) []Decision {
	if c.cfg.Mode == InTransaction {
		return c.handleEach(ctx, ms, func(ctx context.Context, m Message) error {
			return oneError(h(ctx, []Item{{Message: m, Context: ctx}}), 1, 0)
		})
	}
	return c.handleAll(ctx, ms, func(b *batch) { b.runTogether(ctx, h) })
}

// HandleEach is [Consumer.HandleBatch] for a handler of one message, which is called for one
// after the other in their order. Outcomes are recorded while the next message is handled.
// When ctx is done the messages that h has not come to are given back.
func (c *Consumer) HandleEach(ctx context.Context, ms []Message, h Handler) []Decision {
	if c.cfg.Mode == InTransaction {
		return c.handleEach(ctx, ms, h)
	}
	return c.handleAll(ctx, ms, func(b *batch) { b.runEach(ctx, h) })
}

// handleEach handles one message after the other.
func (c *Consumer) handleEach(ctx context.Context, ms []Message, h Handler) []Decision {
	decisions := make([]Decision, len(ms))
	for i, m := range ms {
		if err := ctx.Err(); err != nil {
			d := c.unbegun(context.Cause(ctx))
			d.Key, d.Weak, _ = c.key(m)
			decisions[i] = c.conclude(ctx, m, d)
			continue
		}
		decisions[i] = c.Handle(ctx, m, h)
	}
	return decisions
}

// unbegun is for a message that was not handled because the consumer stops.
func (c *Consumer) unbegun(cause error) Decision {
	return Decision{Kind: Unavailable, Verb: Retry, Err: fmt.Errorf("%w: %w", ErrNotBegun, cause)}
}

// A batch is the state of one call.
type batch struct {
	c       *Consumer
	ms      []Message
	parts   []part
	working sync.WaitGroup
	slots   chan struct{} // bounds how many outcomes are being recorded
}

// A part is one message of a batch.
type part struct {
	decision Decision
	print    once.Fingerprint
	copyOf   *part      // the first with its key, or nil
	turn     *turn      // if it is to be handled
	mark     once.Owner // of its mark, in mode DropOnlyMayLose
	outputs  []Output   // to be published
}

// completing is how many outcomes are recorded at once: enough for a store to put many of them
// into one flush or round trip.
const completing = 256

func (c *Consumer) handleAll(ctx context.Context, ms []Message, run func(*batch)) []Decision {
	b := &batch{c: c, ms: ms, parts: make([]part, len(ms)), slots: make(chan struct{}, completing)}
	for _, m := range ms {
		defer extendLease(ctx, m)()
	}
	defer b.abandon()
	b.claim(ctx)
	run(b)
	b.working.Wait()
	b.publish(ctx)
	decisions := make([]Decision, len(ms))
	for i := range b.parts {
		p := &b.parts[i]
		if p.copyOf != nil {
			p.decision = copied(p.copyOf.decision)
		}
		decisions[i] = c.conclude(ctx, ms[i], p.decision)
		p.decision = decisions[i]
	}
	return decisions
}

// copied returns the decision on a copy of another message of the batch.
func copied(first Decision) Decision {
	d := first
	switch {
	case first.Kind == Ran:
		d.Kind = Duplicate
	case first.Verb == Retry:
		d.Kind, d.Err = InFlight, once.ErrInFlight
	}
	return d
}

// claim decides about every message that is not to be handled, and claims the others.
func (b *batch) claim(ctx context.Context) {
	firsts := make(map[once.Key]*part, len(b.ms))
	asked := make([]int, 0, len(b.ms))
	requests := make([]once.Request, 0, len(b.ms))
	var down Decision // on old messages, if the store does not answer
	for i, m := range b.ms {
		p := &b.parts[i]
		k, weak, fp, err := b.c.identify(m)
		p.decision.Key, p.decision.Weak, p.print = k, weak, fp
		if err != nil {
			p.decide(unnamed(err))
			continue
		}
		if first := firsts[k]; first != nil {
			if fp.Matches(first.print) {
				p.copyOf = first
			} else {
				p.decide(b.c.refused(once.ErrMismatch))
			}
			continue
		}
		firsts[k] = p
		d, old := down, down.Kind != 0 && b.c.isOld(m)
		if !old {
			d, old = b.c.tooOld(ctx, k, m)
		}
		if old {
			if p.decide(d); d.Kind == Unavailable { // each could take as long to be refused
				down = d
			}
			continue
		}
		asked = append(asked, i)
		requests = append(requests, once.Request{Key: k, Fingerprint: fp})
	}
	if b.c.cfg.Mode == DropOnlyMayLose {
		b.mark(ctx, asked, requests)
		return
	}
	for n, begun := range b.c.cfg.Guard.BeginAll(ctx, requests) {
		b.begun(asked[n], begun)
	}
}

// decide sets the decision; the key is known already.
func (p *part) decide(d Decision) {
	d.Key, d.Weak = p.decision.Key, p.decision.Weak
	p.decision = d
}

// begun takes note of what came of claiming a message.
func (b *batch) begun(i int, begun once.Begun) {
	p, a := &b.parts[i], begun.Attempt
	if begun.Err != nil {
		p.decide(b.c.refused(begun.Err))
		return
	}
	if out, done := a.Replay(); done {
		d, outputs := b.c.duplicate(a, out)
		p.outputs = outputs
		p.decide(d)
	} else if d, old := b.c.forgotten(a, b.ms[i]); old {
		p.decide(d)
	} else {
		p.turn = b.c.newTurn(a)
	}
}

// mark is claim in mode DropOnlyMayLose.
func (b *batch) mark(ctx context.Context, asked []int, requests []once.Request) {
	marks := make([]once.Claim, len(requests))
	for n, r := range requests {
		marks[n] = b.c.mark(r.Key, r.Fingerprint)
	}
	for n, res := range b.c.claimMarks(ctx, marks) {
		p := &b.parts[asked[n]]
		if res.Err != nil { // marks that may have been made are taken back all at once
			b.start(func() {
				d, _ := b.c.marked(ctx, marks[n], res)
				p.decide(d)
			})
			continue
		}
		if d, mine := b.c.marked(ctx, marks[n], res); !mine {
			p.decide(d)
			continue
		}
		p.turn, p.mark = &turn{Context: ctx}, marks[n].Owner
	}
}

// abandon ends the attempts whose messages were not come to because the handler has ended its
// goroutine. It changes nothing for the others.
func (b *batch) abandon() {
	b.working.Wait()
	for i := range b.parts {
		if t := b.parts[i].turn; t != nil && t.attempt != nil {
			t.attempt.Abandon(errGoexit)
		}
	}
}
