package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// A chooser picks what happens next, or returns a negative number to break the history off.
type chooser func(w *world, opts []option) int

// run lets a history happen, until nothing more can. It reports whether it was not broken off.
func (w *world) run(choose chooser) (complete bool) {
	w.mu.Lock()
	defer w.close()
	var buf [32]option
	for w.violation == nil {
		if w.sc.timed {
			w.elapse(1) // no two steps happen at the same time, nor do the timers that they set
		}
		opts := w.options(buf[:0])
		if len(opts) == 0 {
			w.epilogue()
			return true
		}
		i := choose(w, opts)
		if i < 0 {
			return false
		}
		w.take(opts[i])
	}
	return true
}

// close ends whatever still runs.
func (w *world) close() {
	for _, p := range w.processes {
		w.engine.kill(w, p)
	}
	w.flush()
	w.mu.Unlock()
}

// epilogue checks what must be so in the end: once everybody has gone and every lease is over,
// the store being up, a new caller learns at once how things stand, and so does the next one.
func (w *world) epilogue() {
	w.looked[10]++
	if w.calm() {
		w.uneventful()
	}
	for _, p := range w.processes {
		w.engine.kill(w, p)
		w.disconnect(p)
	}
	w.direct = true
	for i, l := range w.ledgers {
		if l.policy == locks || isStep(l.key) || w.violation != nil {
			continue
		}
		if e := w.peek(i, w.clock()); e.state(w.clock()) == once.InFlight {
			w.move(e.ends)
			w.look()
		}
		w.inquire(i)
		w.inquire(i)
	}
}

// calm reports whether nothing has gone wrong.
func (w *world) calm() bool {
	left, all := &w.left, &w.sc.limits
	return left.misfortunes == all.misfortunes && left.endings == all.endings && left.passes == all.passes
}

// uneventful checks a history in which nothing went wrong: every effect has taken place, once.
func (w *world) uneventful() {
	for i := range w.ledgers {
		l := &w.ledgers[i]
		e := w.sc.endings
		if len(e) == 1 && e[0].hasEffect() && l.effects(0) != 1 && l.policy != locks {
			w.violate(6, "nothing went wrong, and %v took effect %d times", l, l.effects(0))
		}
	}
}

// inquire lets a new caller ask for the operation.
func (w *world) inquire(key int) {
	c := w.addCaller(len(w.callers), len(w.processes))
	k, fp := w.keys[key], w.ledgers[key].seen.fingerprint
	w.mu.Unlock()
	defer w.mu.Lock()
	a := w.asks(c, k, fp)
	v, err := c.process.do(c.ctx, k, fp, func(ctx context.Context, t turn) (string, error) {
		w.begins(ctx, c, a, t)
		defer w.returns(a)
		return c.operate(ctx, a)
	})
	w.told(c, a, v, err)
	if errors.Is(err, once.ErrInFlight) {
		w.violate(10, "a lease after all had ended, operation %q is in flight", k.ID)
	}
}

func (c *caller) String() string {
	if c.index < 0 {
		return "operator"
	}
	return fmt.Sprintf("caller %d", c.index)
}

func (l *ledger) String() string { return fmt.Sprintf("operation %q", l.key.ID) }

func (w *world) show(e *entry) string {
	now := w.clock()
	switch s := e.state(now); {
	case e.phase == absent:
		return "absent"
	case e.phase == done:
		return fmt.Sprintf("done(%q, owner %#x, attempt %d, fence %d, %v left)", e.outcome.data,
			w.owners.id(e.owner), e.attempt, e.fence, now.until(e.ends))
	default:
		return fmt.Sprintf("%v(owner %#x, attempt %d, fence %d, %v left)", s,
			w.owners.id(e.owner), e.attempt, e.fence, now.until(e.ends).Round(time.Second))
	}
}
