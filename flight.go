package once

import (
	"sync"
	"time"
)

// flights are the operations that this guard's callers own. Others in the same process need not
// ask the store about them, and are told at once how they ended. They also wait here for the
// time of their next renewal: in a queue with one timer, so that an operation that ends before
// its first renewal sets none. They all wait equally long, from before a call of the store on:
// the place of a new one is at the end or, if its call took long, not far from it.
type flights struct {
	mu    sync.Mutex // guards all of this and every flight; never held across I/O
	m     map[Key]*flight
	first *flight // the queue, by due
	last  *flight
	timer *time.Timer // set for the first of the queue
}

// A flight is one attempt under way. It is part of its attempt.
type flight struct {
	a          *Attempt
	expires    time.Time // when the lease is over at the earliest, by our monotonic clock
	due        time.Time // of the next renewal, while queued
	queued     bool
	next, prev *flight
	waiters    chan struct{} // nil until somebody waits; closed by land
	landed     bool
	outcome    Outcome // if hasOutcome: to be given to those who wait
	hasOutcome bool
}

// put adds f. An older flight of the same key is possible: its owner has lost the lease and
// not noticed yet. Those who wait for it are told when it does.
func (fs *flights) put(k Key, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.m == nil {
		fs.m = make(map[Key]*flight)
	}
	fs.m[k] = f
}

func (fs *flights) get(k Key) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.m[k]
}

// done returns a channel that is closed when f has landed; its outcome may be read after that.
func (fs *flights) done(f *flight) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.waiters == nil {
		f.waiters = make(chan struct{})
		if f.landed {
			close(f.waiters)
		}
	}
	return f.waiters
}

// land ends f and tells those who wait for it. out is nil if they are to see for themselves.
// Only the first call counts.
func (fs *flights) land(k Key, f *flight, out *Outcome) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.landed {
		return
	}
	f.landed = true
	if out != nil {
		f.outcome, f.hasOutcome = *out, true
	}
	if fs.m[k] == f {
		delete(fs.m, k)
	}
	fs.unqueue(f)
	if f.waiters != nil {
		close(f.waiters)
	}
}

func (fs *flights) expires(f *flight) time.Time {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return f.expires
}

// lease returns what is left of the lease.
func (fs *flights) lease(f *flight) time.Duration { return max(time.Until(fs.expires(f)), 0) }

// queue notes when the lease is over, and queues f for its next renewal unless it has landed.
// tick is called, in a goroutine of its own, when some renewal is due.
func (fs *flights) queue(f *flight, expires, due time.Time, tick func()) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.expires = expires
	if f.landed || f.queued {
		return
	}
	before := fs.last
	for before != nil && before.due.After(due) {
		before = before.prev
	}
	f.due, f.queued, f.prev = due, true, before
	if before != nil {
		f.next, before.next = before.next, f
	} else {
		f.next, fs.first = fs.first, f
	}
	if f.next != nil {
		f.next.prev = f
	} else {
		fs.last = f
	}
	if fs.first == f {
		fs.arm(tick)
	}
}

// arm sets the timer for the first of the queue.
func (fs *flights) arm(tick func()) {
	if wait := time.Until(fs.first.due); fs.timer == nil {
		fs.timer = time.AfterFunc(wait, tick)
	} else {
		fs.timer.Reset(wait)
	}
}

func (fs *flights) unqueue(f *flight) {
	if !f.queued {
		return
	}
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		fs.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		fs.last = f.prev
	}
	f.queued, f.prev, f.next = false, nil, nil
}

// takeDue takes the flights whose renewal is due from the queue, and sets the timer for the next
// one.
func (fs *flights) takeDue(tick func()) []*flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var due []*flight
	now := time.Now()
	for f := fs.first; f != nil && !f.due.After(now); f = fs.first {
		fs.unqueue(f)
		due = append(due, f)
	}
	if fs.first != nil {
		fs.arm(tick)
	}
	return due
}
