package check

import (
	"slices"

	"github.com/oncehq/once"
)

// A ledger is what the checks themselves know of one operation. It is kept from what the verbs
// were asked and what they did to the record, and from nothing that the guard or the store says
// about itself.
type ledger struct {
	key     once.Key
	policy  policy
	seen    entry // the record as it was left by the last step
	fence   uint64
	derived string  // the id that is sent downstream
	grants  []grant // all attempts, the latest last

	// generation counts how often the operation became absent so that it may rightly happen
	// again: at the end of the retention, or of Claim.Forget.
	generation int
}

// A grant is an attempt: somebody became the owner.
type grant struct {
	owner      once.Owner
	fp         once.Fingerprint
	number     int
	generation int
	effects    int // that took place, or will if the transaction commits
	committed  int // of those
}

// A policy bounds the effects of an operation.
type policy uint8

const (
	rerun policy = iota // one for each attempt, and so many attempts
	hold                // one
	locks               // one for each owner of the lock
	tx                  // one that is committed
)

// granted returns the latest attempt, or nil.
func (l *ledger) granted() *grant {
	if len(l.grants) == 0 {
		return nil
	}
	return &l.grants[len(l.grants)-1]
}

// grant returns the owner's latest attempt, or nil. An owner can have had one before: its claim
// was removed by an operator before it had a reply, and it claims again.
func (l *ledger) grant(o once.Owner) *grant {
	for i := range slices.Backward(l.grants) {
		if l.grants[i].owner == o {
			return &l.grants[i]
		}
	}
	return nil
}

// owns reports whether o owns the operation: the attempt is the latest, and not ended.
func (l *ledger) owns(o once.Owner) bool {
	g := l.granted()
	return g != nil && g.owner == o && l.seen.phase == claimed
}

// still checks that the record is as it was left by the last step, or has gone in the only way
// in which time may take it.
func (l *ledger) still(w *world, now instant, e entry) {
	if l.seen.over(now) {
		l.seen.remove()
		l.generation++
	}
	var invariant int
	switch l.seen.phase {
	case done:
		invariant = 1
	case claimed:
		invariant = 9
	default:
		e.given, l.seen.given = 0, 0 // matters at the next claim
		invariant = 10
	}
	if e != l.seen && w.touched >= 0 && w.keys[w.touched].Scope != l.key.Scope {
		invariant = 11
	}
	if w.broken(invariant, e == l.seen) {
		w.violate(invariant, "the record was left %v, and is now %v, though nobody touched it",
			w.show(&l.seen), w.show(&e))
	}
	l.seen = e
}

// look checks every record after a step. Where no record was touched and no lease or retention has
// ended since it looked last, there is nothing to see.
func (w *world) look() {
	now := w.clock()
	if w.touches != w.seen || now >= w.calmUntil {
		w.seen, w.calmUntil = w.touches, never
		for i := range w.ledgers {
			l := &w.ledgers[i]
			l.still(w, now, w.peek(i, now))
			w.note(i, now)
			w.calmUntil = min(w.calmUntil, l.seen.changes(now))
		}
	}
	if w.left.expiries == w.sc.limits.expiries && w.left.retirements == w.sc.limits.retirements &&
		!w.sc.transactional && !w.sc.mutant.deaf {
		w.timely(now)
	}
}

// timely checks that no operation runs on after its lease without having been told.
func (w *world) timely(now instant) {
	for _, c := range w.callers {
		for _, a := range c.asking {
			if a.ctx == nil || !c.alive() {
				continue
			}
			e := &w.ledgers[a.key].seen
			over := e.owner != a.holds.owner || e.state(now) == once.InDoubt
			if w.broken(14, !over || a.ctx.Err() != nil) {
				w.violate(14, "%v runs on under an attempt at %v, which is %v",
					c, &w.ledgers[a.key], w.show(e))
			}
		}
	}
}

// note takes note, for every call under way, of what its caller may be told from now on.
func (w *world) note(key int, now instant) {
	for _, c := range w.callers {
		for _, a := range c.asking {
			if a.key == key {
				w.may(&w.ledgers[key], a, now)
			}
		}
	}
}

// may notes what the caller may be told, now that the record is in this state.
func (w *world) may(l *ledger, a *asking, now instant) {
	e := &l.seen
	if e.phase == absent {
		return
	}
	if w.sc.transactional && e.phase == claimed {
		a.busy = true // whatever is asked for: only the owner's process can read it yet
	}
	if !e.fingerprint.Matches(a.fp) {
		a.differs = true
		return
	}
	switch e.state(now) {
	case once.InFlight:
		a.busy = true
	case once.InDoubt:
		switch l.policy {
		case hold:
			a.doubt = true
		case rerun:
			a.doubt = a.doubt || e.attempt >= w.sc.attempts || isStep(l.key)
		}
	case once.Done:
		if !slices.Contains(a.may, e.outcome.data) {
			a.may = append(a.may, e.outcome.data)
		}
	}
}
