package check

import (
	"time"

	"github.com/oncehq/once"
)

// verdict checks what a verb of the store did to the record, and what it replied. The ledger says
// who the owner is; the store is not asked.
func (w *world) verdict(r *request, now instant, before, after entry) {
	l := &w.ledgers[r.key]
	switch r.verb {
	case claim:
		w.claimed(l, r, now, before, after)
	case load:
		if w.broken(5, after == before) {
			w.violate(5, "load changed %v from %v to %v", l, w.show(&before), w.show(&after))
		}
		w.reads(l, r, now, &after)
	default:
		w.owned(l, r, now, before, after)
	}
	l.seen = after
	if after != before && !w.proven && !w.sc.mutant.unprobed {
		w.probe(l, r, now)
	}
}

// claimed checks a claim.
func (w *world) claimed(l *ledger, r *request, now instant, before, after entry) {
	c := &r.claim
	stood := after == before
	if w.broken(13, c.Lease == lease) {
		w.violate(13, "a claim asks for a lease of %v, not %v", c.Lease, lease)
	}
	switch state := before.state(now); {
	case w.sc.transactional && state == once.InFlight && before.owner != c.Owner:
		w.transacted(l, r, stood)
		return
	case state != 0 && !before.fingerprint.Matches(c.Fingerprint):
		if w.broken(7, stood && r.err == once.ErrMismatch && r.rec.State == 0) {
			w.violate(7, "a claim with another fingerprint got %v, %v; the record was %v and is %v",
				r.rec.State, r.err, w.show(&before), w.show(&after))
		}
		return
	case state == 0:
		l.wins(w, r, now, before, after, 1)
		if w.broken(7, after.fingerprint == c.Fingerprint) {
			w.violate(7, "a claim was recorded with another fingerprint")
		}
	case before.owner == c.Owner:
		if w.broken(12, stood) {
			w.violate(12, "a repeated claim changed %v to %v", w.show(&before), w.show(&after))
		}
	case state == once.InDoubt && c.Takeover > before.attempt:
		l.wins(w, r, now, before, after, before.attempt+1)
		if w.broken(7, after.fingerprint == before.fingerprint) {
			w.violate(7, "a takeover changed the fingerprint")
		}
	case state == once.Done:
		if w.broken(1, stood) {
			w.violate(1, "a claim changed the done record %v to %v",
				w.show(&before), w.show(&after))
		}
	case state == once.InFlight:
		if w.broken(9, stood) {
			w.violate(9, "a claim changed %v to %v", w.show(&before), w.show(&after))
		}
	default:
		if w.broken(9, stood) {
			w.violate(9, "a claim took over without asking: %v to %v",
				w.show(&before), w.show(&after))
		}
	}
	w.reads(l, r, now, &after)
}

// wins checks a claim that must win, as attempt number n.
func (l *ledger) wins(w *world, r *request, now instant, before, after entry, n int) {
	c := &r.claim
	won := r.err == nil && r.rec.Won(*c) && after.owner == c.Owner && after.phase == claimed
	if w.broken(10, won) {
		w.violate(10, "a claim on %v did not win: it got %v, %v",
			w.show(&before), r.rec.State, r.err)
	}
	if w.broken(8, after.attempt == n) {
		w.violate(8, "attempt %d is numbered %d", n, after.attempt)
	}
	if w.broken(8, after.fence > l.fence) {
		w.violate(8, "the fence went from %d to %d", l.fence, after.fence)
	}
	lease := c.Lease
	if w.sc.transactional {
		lease = once.Forever
	}
	if w.broken(13, after.ends == now.plus(lease)) {
		w.violate(13, "a lease of %v is over in %v by the store's clock",
			c.Lease, now.until(after.ends))
	}
	if w.broken(9, after.forget == c.Forget) {
		w.violate(9, "the record may be forgotten after %v, not %v", after.forget, c.Forget)
	}
	l.fence = max(l.fence, after.fence)
	l.grants = append(l.grants, grant{
		owner: c.Owner, fp: after.fingerprint, number: n, generation: l.generation,
	})
}

// reads checks that a reply shows the record as it is.
func (w *world) reads(l *ledger, r *request, now instant, e *entry) {
	if e.phase == absent {
		if w.broken(10, r.rec.State == 0 && r.err != nil) {
			w.violate(10, "an absent record was read as %v", r.rec.State)
		}
		return
	}
	rec := &r.rec
	if w.broken(11, rec.Key == l.key) {
		w.violate(11, "a verb on %v returned the record of another key", l)
	}
	if w.broken(13, rec.State == e.state(now)) {
		w.violate(13, "%v was read as %v", w.show(e), rec.State)
	}
	if w.broken(4, rec.Owner == e.owner) {
		w.violate(4, "%v was read as of another owner", w.show(e))
	}
	if w.broken(8, rec.Attempt == e.attempt && rec.Fence == e.fence) {
		w.violate(8, "%v was read as attempt %d, fence %d", w.show(e), rec.Attempt, rec.Fence)
	}
	if w.broken(2, outcomeOf(rec.Outcome) == e.outcome) {
		w.violate(2, "%v was read with outcome %q", w.show(e), rec.Outcome.Data)
	}
}

// owned checks a renew, complete or release.
func (w *world) owned(l *ledger, r *request, now instant, before, after entry) {
	stood := after == before
	if !l.owns(r.owner) {
		g := l.granted()
		repeated := r.verb == complete && before.phase == done && g != nil && g.owner == r.owner &&
			before.outcome == r.outcome
		if repeated {
			if w.broken(12, stood && r.err == nil) {
				w.violate(12, "a repeated complete got %v, and changed %v to %v",
					r.err, w.show(&before), w.show(&after))
			}
			return
		}
		invariant := 5
		if before.phase == done && !stood {
			invariant = 1
		}
		lost := r.err == once.ErrLost || w.sc.transactional && r.err == once.ErrRolledBack
		if w.broken(invariant, stood && lost) {
			w.violate(invariant, "a stale owner's %v got %v, and changed %v to %v",
				r.verb, r.err, w.show(&before), w.show(&after))
		}
		return
	}
	if w.broken(4, r.err == nil) {
		w.violate(4, "the owner's %v was refused: %v", r.verb, r.err)
	}
	want := before
	switch {
	case w.sc.transactional && r.verb == renew && r.lasting > 0:
	case w.sc.transactional && r.verb == renew:
		want.remove()
		l.granted().effects = 0
	case w.sc.transactional && r.verb == release:
		want.remove()
		l.granted().effects = 0
	case r.verb == renew:
		want.ends = now.plus(r.lasting)
		if w.broken(13, after.ends == want.ends) {
			w.violate(13, "a lease of %v is over in %v by the store's clock",
				r.lasting, now.until(after.ends))
		}
	case r.verb == complete && r.lasting > 0:
		want.phase, want.outcome, want.ends = done, r.outcome, now.plus(r.lasting)
		if w.sc.transactional {
			w.commits(l)
		}
		if w.broken(2, after.outcome == want.outcome) {
			w.violate(2, "the outcome %q was recorded as %q", r.outcome.data, after.outcome.data)
		}
		if w.broken(1, after.ends == want.ends) {
			w.violate(1, "a retention of %v is over in %v", r.lasting, now.until(after.ends))
		}
	default:
		want.remove()
	}
	if w.broken(8, after.given == want.given) {
		w.violate(8, "the owner's %v set the fence from %d back to %d",
			r.verb, want.given, after.given)
	}
	if w.broken(9, after == want) {
		w.violate(9, "the owner's %v left %v, not %v", r.verb, w.show(&after), w.show(&want))
	}
}

// probe tries every verb of every owner that the operation has had, and of the caller, on a copy
// of the record: they must succeed for the present owner, if there is one, and for nobody else.
func (w *world) probe(l *ledger, r *request, now instant) {
	other := outcome{data: "nobody's"}
	for i := range len(l.grants) + 1 {
		o := r.owner
		if i < len(l.grants) {
			o = l.grants[i].owner
		}
		owns := l.owns(o)
		for _, try := range [...]func(e *entry) error{
			func(e *entry) error { return w.verbs.renew(e, now, o, time.Second) },
			func(e *entry) error { return w.verbs.complete(e, now, o, other, time.Second) },
			func(e *entry) error { return w.verbs.release(e, now, o) },
		} {
			e := w.peek(r.key, now)
			err := try(&e)
			if w.broken(4, (err == nil) == owns) {
				w.violate(4, "a verb of %v on %v would get %v; it is the owner: %t",
					w.owners.id(o), w.show(&l.seen), err, owns)
			}
		}
	}
}
