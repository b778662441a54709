package check

import (
	"time"

	"github.com/oncehq/once"
)

// take lets the option happen.
func (w *world) take(o option) {
	if w.log != nil {
		w.logf("%v", o)
	}
	w.taken[o.kind]++
	switch o.kind {
	case begin:
		o.caller.started = true
		o.caller.process.trace.add(uint64(o.caller.index))
		w.engine.begin(w, o.caller)
	case grants, lose, fail, delay:
		w.reply(o)
	case deliver:
		w.late = append(w.late[:o.n:o.n], w.late[o.n+1:]...)
		w.serve(o.req)
	case crash:
		w.left.spend(&w.left.crashes)
		w.engine.kill(w, o.caller.process)
		w.disconnect(o.caller.process)
	case hangUp:
		w.left.spend(&w.left.hangUps)
		o.caller.hungUp = true
		o.caller.process.trace.add(uint64(kinds) + uint64(o.caller.index))
		o.caller.cancel()
		w.engine.rest(w)
	case pass:
		w.left.passes--
		w.elapse(w.sc.passages[o.n])
	case part:
		w.left.spend(&w.left.partings)
		o.caller.process.cut = true
	case join:
		o.caller.process.cut = false
	default:
		w.intervene(o)
	}
	w.look()
	w.wake()
	w.flush()
}

// reply serves a request, or has something happen to it, and lets the caller go on.
func (w *world) reply(o option) {
	r := o.req
	r.ending = ending(o.n)
	switch o.kind {
	case grants:
		if r.verb == effect && r.ending != w.sc.endings[0] {
			w.left.endings--
		}
		w.serve(r)
	case lose:
		w.left.spend(&w.left.faults)
		w.serve(r)
	case fail:
		w.left.spend(&w.left.faults)
	case delay:
		w.left.spend(&w.left.late)
		w.sendLate(r)
	}
	if o.kind != grants {
		w.disconnect(r.caller.process)
		r.rec, r.err = once.Record{}, errUnknown
		if a := r.caller.current(r.key); a != nil {
			a.failed = true
		}
	}
	if w.sc.mutant.reply != nil {
		w.sc.mutant.reply(r)
	}
	r.caller.touched = w.touches
	r.caller.process.trace.addReply(w, r)
	w.engine.resume(w, r)
}

// intervene lets something happen that no caller asked for.
func (w *world) intervene(o option) {
	now := w.clock()
	r := &request{caller: w.operator, key: o.n}
	switch o.kind {
	case expire:
		w.left.spend(&w.left.expiries)
		w.move(w.nextLease(now))
		return
	case retire:
		w.left.spend(&w.left.retirements)
		w.move(w.nextEnd(now))
		return
	case blackout:
		w.left.spend(&w.left.powerCuts)
		copy(w.entries, w.durable)
		w.touches++
		w.touched = -1
		return
	case beat:
		w.left.renewals--
		r.caller, r.verb, r.lasting = o.caller, renew, lease
	case resolve:
		w.left.spend(&w.left.operators)
		r.verb, r.lasting = complete, w.sc.retention
		r.outcome = outcome{mediaType: text{}.Type(), data: string([]byte{'k', byte('0' + o.n), '!'})}
	case dismiss:
		w.left.spend(&w.left.operators)
		r.verb = release
	}
	r.owner = w.ledgers[o.n].seen.owner
	w.serve(r)
}

// elapse lets time pass, by every clock.
func (w *world) elapse(d time.Duration) {
	for _, p := range w.processes {
		p.trace.add(uint64(d))
	}
	w.mu.Unlock()
	time.Sleep(d)
	w.mu.Lock()
	w.engine.rest(w)
}
