package check

import (
	"fmt"
	"slices"

	"github.com/oncehq/once"
)

// An option is one thing that can happen next.
type option struct {
	kind   kind
	caller *caller
	req    *request
	n      int // the ending, the key, the late request or the length of time that it is about
}

// A kind of option.
type kind uint8

const (
	begin    kind = iota // a caller takes its first step
	grants               // a request is served, and its caller goes on
	lose                 // a verb is carried out, but its reply is lost
	fail                 // a verb is not carried out, and its caller does not know
	delay                // the same, but the verb will be carried out later
	deliver              // it is carried out now
	crash                // the caller's process crashes
	hangUp               // the caller's context is cancelled
	expire               // a lease ends by the store's clock, for callers all of which were asleep
	retire               // a retention ends, or the time after which a record in doubt is forgotten
	beat                 // an owner's lease is renewed
	resolve              // an operator completes what is in doubt
	dismiss              // an operator releases what is in doubt, rightly
	blackout             // the store loses what is not durable
	part                 // a process is cut off from the store
	join                 // and is so no more
	pass                 // time passes by every clock
	kinds
)

var kindNames = [kinds]string{
	"begin", "serve", "lose", "fail", "delay", "deliver", "crash", "hang up", "expire", "retire",
	"beat", "resolve", "dismiss", "power cut", "part", "join", "pass",
}

// options returns everything that can happen next.
func (w *world) options(opts []option) []option {
	for i, c := range w.callers {
		if !c.started && (!w.sc.alike || i == 0 || w.callers[i-1].started) {
			opts = append(opts, option{kind: begin, caller: c})
		}
	}
	for _, r := range w.pending {
		opts = w.replies(opts, r)
	}
	left := &w.left
	for i, r := range w.late {
		opts = append(opts, option{kind: deliver, req: r, n: i})
	}
	for _, c := range w.callers {
		if left.allow(left.hangUps) && c.alive() && !c.hungUp {
			opts = append(opts, option{kind: hangUp, caller: c})
		}
	}
	now := w.clock()
	if left.allow(left.expiries) && w.nextLease(now) != never {
		opts = append(opts, option{kind: expire})
	}
	if left.allow(left.retirements) && w.nextEnd(now) != never {
		opts = append(opts, option{kind: retire})
	}
	return w.interventions(opts, now)
}

// replies returns what can come of a request.
func (w *world) replies(opts []option, r *request) []option {
	c, left := r.caller, &w.left
	switch {
	case c.process.cut && r.verb.isStores():
		return opts
	case r.verb == effect:
		for i, e := range w.sc.endings {
			if i > 0 && left.endings == 0 {
				break
			}
			opts = append(opts, option{kind: grants, req: r, n: int(e)})
		}
	case r.verb == nap:
		if c.touched != w.touches || c.hungUp { // else it would find nothing new
			opts = append(opts, option{kind: grants, req: r})
		}
	default:
		opts = append(opts, option{kind: grants, req: r})
		if left.allow(left.faults) {
			opts = append(opts, option{kind: lose, req: r}, option{kind: fail, req: r})
		}
		if left.allow(left.late) {
			opts = append(opts, option{kind: delay, req: r})
		}
	}
	if left.allow(left.crashes) && !r.beat {
		opts = append(opts, option{kind: crash, caller: c})
	}
	return opts
}

// interventions returns what can come from elsewhere: the owner's heartbeat, an operator, the
// store's power supply, and time.
func (w *world) interventions(opts []option, now instant) []option {
	left := &w.left
	for i := range w.ledgers {
		l := &w.ledgers[i]
		if l.seen.phase != claimed {
			continue
		}
		holder := w.holder(l)
		if left.renewals > 0 && holder != nil && l.seen.ends < now.plus(lease) {
			opts = append(opts, option{kind: beat, caller: holder, n: i})
		}
		if left.allow(left.operators) && l.seen.state(now) == once.InDoubt {
			opts = append(opts, option{kind: resolve, n: i})
			if holder == nil && l.effects(l.generation) == 0 {
				opts = append(opts, option{kind: dismiss, n: i})
			}
		}
	}
	if left.allow(left.powerCuts) && !slices.Equal(w.entries, w.durable) {
		opts = append(opts, option{kind: blackout})
	}
	for _, p := range w.processes {
		switch {
		case p.cut:
			opts = append(opts, option{kind: join, caller: p.callers[0]})
		case left.allow(left.partings) && p.lives():
			opts = append(opts, option{kind: part, caller: p.callers[0]})
		}
	}
	if left.passes > 0 && slices.ContainsFunc(w.callers, (*caller).alive) {
		for i := range w.sc.passages {
			opts = append(opts, option{kind: pass, n: i})
		}
	}
	return opts
}

func (c *caller) alive() bool { return c.started && !c.finished && !c.process.dead }

// holder returns the caller that runs the operation as its present owner, or nil.
func (w *world) holder(l *ledger) *caller {
	for _, c := range w.callers {
		for _, a := range c.asking {
			if c.alive() && a.holds.owner == l.seen.owner {
				return c
			}
		}
	}
	return nil
}

// nextLease returns when the first of the running leases is over.
func (w *world) nextLease(now instant) instant {
	next := never
	for i := range w.ledgers {
		if e := &w.ledgers[i].seen; e.phase == claimed && e.ends > now {
			next = min(next, e.ends)
		}
	}
	return next
}

// nextEnd returns when the first of the records goes by itself.
func (w *world) nextEnd(now instant) instant {
	next := never
	for i := range w.ledgers {
		switch e := &w.ledgers[i].seen; {
		case e.phase == done && e.ends > now:
			next = min(next, e.ends)
		case e.phase == claimed && e.forget > 0:
			next = min(next, e.ends.plus(e.forget))
		}
	}
	return next
}

func (o option) String() string {
	switch {
	case o.req != nil && o.req.verb == effect:
		return fmt.Sprintf("%v: the operation %v", o.req.caller, ending(o.n))
	case o.req != nil:
		return fmt.Sprintf("%v %v's %v", kindNames[o.kind], o.req.caller, o.req.verb)
	case o.caller != nil:
		return fmt.Sprintf("%v %v", kindNames[o.kind], o.caller)
	}
	return fmt.Sprintf("%v %d", kindNames[o.kind], o.n)
}
