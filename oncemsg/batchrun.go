package oncemsg

import (
	"context"
	"fmt"
)

// runTogether calls the handler once for all messages that are to be handled.
func (b *batch) runTogether(ctx context.Context, h BatchHandler) {
	items := make([]Item, 0, len(b.parts))
	parts := make([]int, 0, len(b.parts))
	for i := range b.parts {
		if t := b.parts[i].turn; t != nil {
			items = append(items, Item{Message: b.ms[i], Context: t})
			parts = append(parts, i)
		}
	}
	if len(items) == 0 {
		return
	}
	errs, panicked := callAll(ctx, items, h)
	for n, i := range parts {
		err := panicked
		if err == nil {
			err = oneError(errs, len(items), n)
		}
		b.record(ctx, i, err)
	}
}

func callAll(ctx context.Context, items []Item, h BatchHandler) (errs []error, panicked error) {
	defer recovered(&panicked)
	return h(ctx, items), nil
}

// oneError returns what a handler of so many items has said of the nth.
func oneError(errs []error, items, n int) error {
	switch len(errs) {
	case 0:
		return nil
	case items:
		return errs[n]
	}
	return fmt.Errorf("oncemsg: batch handler returned %d errors for %d messages; "+
		"return one for each, or nil", len(errs), items)
}

// runEach calls the handler for one message after the other.
func (b *batch) runEach(ctx context.Context, h Handler) {
	for i := range b.parts {
		p := &b.parts[i]
		switch {
		case p.turn == nil:
		case ctx.Err() != nil:
			b.giveBack(i, b.c.unbegun(context.Cause(ctx)))
		case p.turn.Err() != nil: // its lease was lost meanwhile: another owner may be running it
			b.giveBack(i, b.c.refused(context.Cause(p.turn)))
		default:
			b.record(ctx, i, call(p.turn, b.ms[i], h))
		}
	}
}

// record ends the claim of a message that was handled, in the background.
func (b *batch) record(ctx context.Context, i int, err error) {
	p := &b.parts[i]
	b.start(func() {
		if p.turn.attempt == nil {
			p.decide(b.c.dropped(ctx, p.decision.Key, p.mark, b.ms[i], err))
			return
		}
		d, outputs := b.c.record(ctx, p.turn, b.ms[i], err)
		p.outputs = outputs
		p.decide(d)
	})
}

// giveBack ends the claim of a message that was not handled.
func (b *batch) giveBack(i int, d Decision) {
	p := &b.parts[i]
	b.start(func() {
		if p.turn.attempt == nil {
			b.c.unmark(p.turn, p.decision.Key, p.mark)
		} else {
			p.turn.attempt.Release()
		}
		p.decide(d)
	})
}

func (b *batch) start(f func()) {
	b.slots <- struct{}{}
	b.working.Go(func() {
		defer func() { <-b.slots }()
		f()
	})
}

// publish sends what the messages have emitted, in their order and in one call. If some of it can
// never be sent that is only the fault of its message, which is found by sending one by one.
func (b *batch) publish(ctx context.Context) {
	var all []Output
	for i := range b.parts {
		all = append(all, b.parts[i].outputs...)
	}
	sent := b.c.publish(ctx, Decision{Attempt: 1}, all)
	if sent.Err == nil {
		return
	}
	for i := range b.parts {
		p := &b.parts[i]
		switch {
		case len(p.outputs) == 0:
		case sent.Verb == DeadLetter && len(p.outputs) < len(all):
			p.decide(b.c.publish(ctx, p.decision, p.outputs))
		default:
			sent.Attempt = p.decision.Attempt
			p.decide(sent)
		}
	}
}
