package oncekafka

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// errHeld is for a record that was claimed and given back, since one before it is not dealt with.
var errHeld = fmt.Errorf("oncekafka: a record before this one is not dealt with: %w", oncemsg.ErrNotBegun)

// A gate keeps the order of records that were claimed together: it lets one through only when those
// before it are dealt with. The handler is not told of records that it is not to handle, so
// the gate looks up in the store why they are missing: done is as good as handled, in flight is not.
type gate struct {
	h      *handling
	ms     []oncemsg.Message
	next   int               // the first of ms that is neither passed nor settled
	passed map[once.Key]bool // copies of these are settled with them
	shut   bool
}

func newGate(h *handling, ms []oncemsg.Message) *gate {
	return &gate{h: h, ms: ms, passed: make(map[once.Key]bool, len(ms))}
}

// each guards a handler. A failure holds everything behind it.
func (g *gate) each(handle oncemsg.Handler) oncemsg.Handler {
	return func(ctx context.Context, m oncemsg.Message) error {
		if !g.pass(ctx, m) {
			return once.NoEffect(errHeld)
		}
		g.shut = true // should it panic
		err := handle(ctx, m)
		if _, final := errors.AsType[*once.FinalError](err); err == nil || final {
			g.shut = false
		}
		return err
	}
}

// batch guards a handler of many. It is given those before the first that has to wait.
func (g *gate) batch(handle oncemsg.BatchHandler) oncemsg.BatchHandler {
	return func(ctx context.Context, items []oncemsg.Item) []error {
		n := 0
		for n < len(items) && g.pass(ctx, items[n].Message) {
			n++
		}
		errs := make([]error, len(items))
		for i := n; i < len(items); i++ {
			errs[i] = once.NoEffect(errHeld)
		}
		if n == 0 {
			return errs
		}
		got, err := call(ctx, items[:n], handle)
		if err == nil && len(got) != 0 && len(got) != n {
			err = fmt.Errorf("oncekafka: batch handler returned %d errors for %d records; "+
				"return one for each, or nil", len(got), n)
		}
		if err != nil {
			for i := range n {
				errs[i] = err
			}
			return errs
		}
		copy(errs, got)
		return errs
	}
}

// call calls the handler. A panic says nothing of the records that were held back from it.
func call(ctx context.Context, items []oncemsg.Item, handle oncemsg.BatchHandler) (errs []error, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &oncemsg.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return handle(ctx, items), nil
}

// pass reports whether m may be handled now.
func (g *gate) pass(ctx context.Context, m oncemsg.Message) bool {
	if g.shut || closed(g.h.stop) {
		g.shut = true
		return false
	}
	for ; g.ms[g.next].Native != m.Native; g.next++ {
		if !g.settled(ctx, g.ms[g.next]) {
			g.shut = true
			return false
		}
	}
	if k, ok := g.h.consumer.Key(m); ok {
		g.passed[k] = true
	}
	g.next++
	return true
}

// settled reports whether a record that is not handled now never will be, by this member or another.
func (g *gate) settled(ctx context.Context, m oncemsg.Message) bool {
	k, ok := g.h.consumer.Key(m)
	if !ok || g.passed[k] {
		return true // unnamed, or a copy
	}
	cfg := g.h.consumer.Config()
	ctx, cancel := context.WithTimeout(ctx, cfg.Guard.Config().Lease)
	defer cancel()
	rec, err := cfg.Guard.Store().Load(ctx, k)
	switch {
	case errors.Is(err, once.ErrNotFound):
		return cfg.TooOld > 0 && !m.Time.IsZero() && time.Since(m.Time) >= cfg.TooOld
	case err != nil:
		return errors.Is(err, once.ErrUnreadable) // poisoned
	case rec.State == once.InDoubt:
		return rec.Attempt >= cfg.Guard.Config().MaxAttempts || cfg.Mode == oncemsg.DropOnlyMayLose
	}
	return rec.State == once.Done
}
