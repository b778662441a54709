package check

import (
	"cmp"
	"iter"
	"slices"
	"testing/synctest"

	"github.com/oncehq/once"
)

// An engine stops callers at their requests and lets them go on. While the scheduler runs, every
// caller is stopped, so that it sees a state of rest. The scheduler holds the world's mutex, and
// so do callers when they come to a stop; engines give it up while others run.
type engine interface {
	begin(w *world, c *caller)   // lets the caller live until its first request
	stop(w *world, r *request)   // called by the caller
	resume(w *world, r *request) // r has its reply
	kill(w *world, p *process)   // nothing of the process ever runs again
	rest(w *world)               // returns when every caller is stopped
	end()                        // frees what the engine keeps
}

// await puts the request where the scheduler finds it, in an order that does not depend on chance.
func (w *world) await(r *request) {
	i, _ := slices.BinarySearchFunc(w.pending, r, func(p, r *request) int {
		beat := 0
		switch {
		case r.beat && !p.beat:
			beat = -1
		case p.beat && !r.beat:
			beat = 1
		}
		return cmp.Or(p.caller.index-r.caller.index, beat, p.key-r.key, -1)
	})
	w.pending = slices.Insert(w.pending, i, r)
}

// sendLate keeps a copy of the request for later, in an order that does not depend on chance.
func (w *world) sendLate(r *request) {
	late := *r
	i, _ := slices.BinarySearchFunc(w.late, &late, func(a, b *request) int {
		return cmp.Or(a.caller.index-b.caller.index, int(a.verb)-int(b.verb), a.key-b.key, -1)
	})
	w.late = slices.Insert(w.late, i, &late)
}

func (w *world) drop(r *request) {
	w.pending = slices.DeleteFunc(w.pending, func(p *request) bool { return p == r })
}

// coroutines let callers live in coroutines: a switch takes a fraction of a microsecond, and no
// more than one caller ever runs. In exchange a caller must wait for nothing but its requests:
// timers do not fire, and callers share no process.
type coroutines struct{ idle []*coroutine }

// A coroutine runs one caller after the other, so that its stack need not grow for each.
type coroutine struct {
	next  func() (struct{}, bool) // goes on, until the caller is stopped or has ended
	end   func()
	yield func(struct{}) bool
	c     *caller // nil when it has ended
}

func newCoroutine() *coroutine {
	co := new(coroutine)
	co.next, co.end = iter.Pull(func(yield func(struct{}) bool) {
		for co.yield = yield; yield(struct{}{}); {
			co.c.live()
			co.c.routine, co.c = nil, nil
		}
	})
	co.next()
	return co
}

func (e *coroutines) begin(w *world, c *caller) {
	if len(e.idle) == 0 {
		e.idle = append(e.idle, newCoroutine())
	}
	last := len(e.idle) - 1
	c.routine, e.idle = e.idle[last], e.idle[:last]
	c.routine.c = c
	e.run(w, c.routine)
}

// run lets the caller go on until it is stopped or has ended.
func (e *coroutines) run(w *world, co *coroutine) {
	w.mu.Unlock()
	co.next()
	w.mu.Lock()
	if co.c == nil {
		e.idle = append(e.idle, co)
	}
}

func (e *coroutines) stop(w *world, r *request) {
	w.await(r)
	w.mu.Unlock()
	r.caller.routine.yield(struct{}{})
	w.mu.Lock()
	if r.caller.process.dead {
		r.rec, r.err = once.Record{}, errDead
	}
}

func (e *coroutines) resume(w *world, r *request) {
	w.drop(r)
	e.run(w, r.caller.routine)
}

// rest lets those go on whose context has ended.
func (e *coroutines) rest(w *world) {
	for _, r := range slices.Clone(w.pending) {
		if r.ctx.Err() != nil {
			w.abandon(r)
			e.run(w, r.caller.routine)
		}
	}
}

// kill lets the callers come to their ends, which takes no further request: none is served.
func (e *coroutines) kill(w *world, p *process) {
	p.dead = true
	for _, c := range p.callers {
		w.pending = slices.DeleteFunc(w.pending, func(r *request) bool { return r.caller == c })
		if c.routine != nil {
			e.run(w, c.routine)
		}
	}
}

// end ends the coroutines, none of which may be in use.
func (e *coroutines) end() {
	for _, co := range e.idle {
		co.end()
	}
	e.idle = nil
}

// goroutines let callers live in goroutines of a bubble of [testing/synctest], with everything
// else that the guard starts: heartbeats, timers, and waits of callers for each other. The
// scheduler goes on when all of them are blocked.
type goroutines struct{}

func (e goroutines) begin(w *world, c *caller) {
	go c.live()
	e.rest(w)
}

func (goroutines) stop(w *world, r *request) {
	r.replied = make(chan struct{})
	w.await(r)
	w.mu.Unlock()
	select {
	case <-r.replied:
		w.mu.Lock()
	case <-r.ctx.Done():
		w.mu.Lock()
		w.abandon(r)
	}
}

// abandon is for a caller that no longer waits for the reply. The request is under way, though.
func (w *world) abandon(r *request) {
	select {
	case <-r.replied:
		return
	default:
	}
	w.drop(r)
	w.disconnect(r.caller.process)
	if r.verb.isStores() && w.sc.limits.late > 0 {
		w.sendLate(r)
	}
	r.err = r.ctx.Err()
	if a := r.caller.current(r.key); a != nil {
		a.failed = true
	}
}

func (e goroutines) resume(w *world, r *request) {
	w.drop(r)
	close(r.replied)
	e.rest(w)
}

func (goroutines) rest(w *world) {
	w.mu.Unlock()
	synctest.Wait()
	w.mu.Lock()
}

func (goroutines) end() {}

func (e goroutines) kill(w *world, p *process) {
	p.dead = true
	for _, c := range p.callers {
		for _, r := range slices.Clone(w.pending) {
			if r.caller == c {
				w.drop(r)
				r.rec, r.err = once.Record{}, errDead
				close(r.replied)
			}
		}
		c.cancel()
	}
	e.rest(w)
}
