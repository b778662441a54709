package check

import (
	"errors"
	"time"

	"github.com/oncehq/once"
)

// transactions returns the verbs of a store whose claim is an insert in an open transaction, in
// which the operation then runs: complete commits, release rolls back, and so does the end of the
// connection. Others do not see the claim, but wait for it, and give up.
func transactions() verbs {
	v := contract()
	v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
		if e.phase == claimed && e.owner != c.Owner {
			return once.Record{}, once.ErrInFlight
		}
		c.Lease = once.Forever // is not measured: the connection stands for it
		return e.claim(now, c)
	}
	v.renew = func(e *entry, _ instant, o once.Owner, lease time.Duration) error {
		switch {
		case !e.owned(o):
			return once.ErrLost
		case lease == 0:
			e.remove() // there is nothing to be in doubt about
		}
		return nil
	}
	v.complete = func(e *entry, now instant, o once.Owner, out outcome, retention time.Duration) error {
		err := e.complete(now, o, out, retention)
		if errors.Is(err, once.ErrLost) {
			return once.ErrRolledBack
		}
		return err
	}
	return v
}

// disconnect ends the process's connections.
func (w *world) disconnect(p *process) {
	if !w.sc.transactional {
		return
	}
	for i := range w.ledgers {
		l := &w.ledgers[i]
		for _, c := range p.callers {
			if l.seen.phase == claimed && int(w.owners.id(l.seen.owner)>>8)-1 == c.index {
				w.rollBack(i)
			}
		}
	}
}

// rollBack undoes the claim and what was done under it.
func (w *world) rollBack(key int) {
	l := &w.ledgers[key]
	l.grants = l.grants[:len(l.grants)-1]
	l.seen.remove()
	w.entries[key].remove()
	w.durable[key].remove()
	w.touches++
}

// commits checks the effects of an operation whose transaction is committed.
func (w *world) commits(l *ledger) {
	n := 0
	g := l.granted()
	g.committed = g.effects
	for _, o := range l.grants {
		if o.generation == g.generation {
			n += o.committed
		}
	}
	if w.broken(6, n == 1) {
		w.violate(6, "%v is done, with %d committed effects", l, n)
	}
}

// transacted checks a claim for which another transaction stands in the way.
func (w *world) transacted(l *ledger, r *request, stood bool) {
	if w.broken(9, stood && errors.Is(r.err, once.ErrInFlight) && r.rec.State == 0) {
		w.violate(9, "a claim on %v, which is claimed in another transaction, got %v, %v",
			l, r.rec.State, r.err)
	}
}
