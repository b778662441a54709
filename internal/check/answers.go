package check

import (
	"context"
	"errors"
	"slices"

	"github.com/oncehq/once"
)

// An asking is a call under way, and what the caller may be told at its end. All of this follows
// from what was recorded while it was under way.
type asking struct {
	key     int
	fp      once.Fingerprint
	may     []string        // the outcomes that stood in the record
	busy    bool            // the operation was in flight
	doubt   bool            // the operation was in doubt
	differs bool            // the record had another fingerprint
	failed  bool            // a verb of the caller failed
	ran     bool            // the caller ran the operation itself
	own     string          // and this came of it
	err     error           // or this
	lock    bool            // it asks for a lock, which has no outcome
	ctx     context.Context // of the operation, while it runs
	holds   turn            // the attempt that the caller believes to own; zero when it has ended
}

// asks notes that a caller begins to ask for an operation.
func (w *world) asks(c *caller, k once.Key, fp once.Fingerprint) *asking {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := w.index(k)
	a := &asking{key: key, fp: fp}
	c.asking = append(c.asking, a)
	w.may(&w.ledgers[key], a, w.clock())
	for _, o := range c.process.callers {
		if b := o.current(key); o != c && b != nil && b.holds != (turn{}) {
			a.busy = true // a guard need not ask the store what it knows
			recorded := b.fp
			if g := w.ledgers[key].grant(b.holds.owner); g != nil {
				recorded = g.fp
			}
			a.differs = a.differs || !recorded.Matches(fp)
		}
	}
	return a
}

// begins checks that a caller which is about to run an operation owns it.
func (w *world) begins(ctx context.Context, c *caller, a *asking, t turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.process.dead {
		return
	}
	l := &w.ledgers[a.key]
	if w.broken(4, l.owns(t.owner)) {
		w.violate(4, "%v runs %v without owning it", c, l)
	}
	for _, o := range w.callers {
		for _, b := range o.asking {
			if w.broken(4, b == a || b.holds.owner != t.owner) {
				w.violate(4, "%v and %v own %v with the same nonce", c, o, l)
			}
		}
	}
	e := &l.seen
	if w.broken(8, t.number == e.attempt && t.fence == e.fence) {
		w.violate(8, "%v runs attempt %d with fence %d of %v, which is %v",
			c, t.number, t.fence, l, w.show(e))
	}
	if w.broken(7, e.fingerprint.Matches(a.fp)) {
		w.violate(7, "%v runs %v for another request than is recorded", c, l)
	}
	w.derives(ctx, l)
	a.ran, a.holds, a.ctx = true, t, ctx
}

// returns notes that the operation runs no longer.
func (w *world) returns(a *asking) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.ctx = nil
}

// derives checks that the id to be sent downstream is the same in every attempt of the operation,
// and in no other operation.
func (w *world) derives(ctx context.Context, l *ledger) {
	at, ok := once.FromContext(ctx)
	if !ok || !w.sc.timed {
		return
	}
	id := at.DerivedID("charge")
	if l.derived == "" {
		l.derived = id
	}
	if w.broken(6, id == l.derived) {
		w.violate(6, "%v goes on downstream as %v, was %v", l, id, l.derived)
	}
	for i := range w.ledgers {
		if o := &w.ledgers[i]; o != l && o.derived == id {
			w.violate(11, "%v and %v go on downstream under one id", l, o)
		}
	}
}

// takesEffect checks that the operation may take effect.
func (w *world) takesEffect(r *request) {
	l := &w.ledgers[r.key]
	if w.sc.transactional && !l.owns(r.owner) {
		return // the connection is gone, and the statement fails
	}
	g := l.grant(r.owner)
	if g == nil {
		w.violate(6, "%v takes effect for %v, who never owned it", l, r.caller)
		return
	}
	g.effects++
	if w.broken(6, g.effects == 1) {
		w.violate(6, "attempt %d of %v takes effect twice", g.number, l)
	}
	if a := r.caller.current(r.key); a != nil {
		if w.broken(7, g.fp.Matches(a.fp)) {
			w.violate(7, "%v takes effect for another request than is recorded", l)
		}
	}
	switch l.policy {
	case hold:
		if w.broken(6, l.effects(g.generation) <= 1) {
			w.violate(6, "%v takes effect twice under Hold", l)
		}
	case rerun:
		if w.broken(6, g.number <= w.sc.attempts || isStep(l.key)) {
			w.violate(6, "attempt %d of %v takes effect, only %d are allowed",
				g.number, l, w.sc.attempts)
		}
	}
}

// effects counts the effects of a generation.
func (l *ledger) effects(generation int) int {
	n := 0
	for _, g := range l.grants {
		if g.generation == generation {
			n += g.effects
		}
	}
	return n
}

// told checks what a caller is told at the end of its call.
func (w *world) told(c *caller, a *asking, v string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.asking = c.asking[:slices.Index(c.asking, a)] // and the steps that a panic went through
	if c.process.dead {
		return
	}
	w.logf("%v is told %q, %v", c, v, err)
	if final, ok := errors.AsType[*once.FinalError](err); ok {
		v, err = final.Message, nil
	}
	switch {
	case err == nil && a.lock:
		return
	case err == nil:
		w.given(c, a, v)
		return
	}
	l := &w.ledgers[a.key]
	switch {
	case errors.Is(err, errPanic), a.ran && a.err != nil && err.Error() == a.err.Error():
	case a.lock && len(a.may) > 0: // an operator has completed it; it must not be run
		if w.broken(4, !a.ran) {
			w.violate(4, "%v is refused %v, which it ran", c, l)
		}
	case errors.Is(err, once.ErrMismatch):
		if w.broken(7, a.differs) {
			w.violate(7, "%v is told that %v is another request, but it is not", c, l)
		}
	case errors.Is(err, once.ErrInDoubt):
		if w.broken(10, a.doubt) {
			w.violate(10, "%v is told that %v is in doubt, but it was not", c, l)
		}
	case errors.Is(err, once.ErrInFlight):
		if w.broken(10, a.busy) {
			w.violate(10, "%v is told that %v is in flight, but it was not", c, l)
		}
	case errors.Is(err, once.ErrLost):
		within := len(c.asking) > 0 && c.asking[len(c.asking)-1].ctx.Err() != nil
		if w.broken(10, a.ran || within) {
			w.violate(10, "%v is told that %v is lost, but never owned it", c, l)
		}
	default:
		if w.broken(10, a.failed || c.hungUp) {
			w.violate(10, "%v is refused %v without a cause: %v", c, l, err)
		}
	}
}

// given checks an outcome that a caller is given.
func (w *world) given(c *caller, a *asking, v string) {
	l := &w.ledgers[a.key]
	if slices.Contains(a.may, v) {
		w.looked[2]++
		w.looked[3]++
		return
	}
	switch {
	case len(v) < 2 || int(v[1]-'0') != a.key:
		w.violate(11, "%v asks for %v and is given %q, which is of another operation", c, l, v)
	case a.differs && v == l.seen.outcome.data:
		w.violate(7, "%v asks for something else than recorded of %v and is given %q", c, l, v)
	case a.ran && v == a.own:
		w.violate(3, "%v is given its own outcome %q of %v, which is not recorded", c, v, l)
	default:
		w.violate(2, "%v is given %q for %v, which was not recorded meanwhile: %q", c, v, l, a.may)
	}
}
