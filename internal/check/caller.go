package check

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/oncehq/once"
)

// A process is what crashes as a whole: callers that share a guard and a connection to the store.
type process struct {
	callers []*caller
	do      performer
	lock    locker
	cut     bool // off from the store
	dead    bool
	trace   digest // of all that the process was told, in that order: its state follows from it
}

// lives reports whether the process will ever do anything again.
func (p *process) lives() bool {
	return !p.dead && slices.ContainsFunc(p.callers, func(c *caller) bool { return !c.finished })
}

// A performer runs an operation once: [once.Do] over a guard, or what a mutant has in its place.
type performer func(ctx context.Context, k once.Key, fp once.Fingerprint, op operation) (string, error)

// A locker runs something under a lock: [once.Lock] over a guard.
type locker func(ctx context.Context, k once.Key, op operation) error

// An operation is what is to happen once.
type operation func(ctx context.Context, t turn) (string, error)

// A turn is what an owner knows of its attempt.
type turn struct {
	owner  once.Owner
	number int
	fence  uint64
}

// A caller is a program that asks for operations. It is stopped at each request, and what it does
// next depends on the replies only.
type caller struct {
	w       *world
	index   int
	process *process
	ctx     context.Context
	cancel  context.CancelFunc

	started  bool
	finished bool
	hungUp   bool
	failing  bool      // the latest reply was an error: a pause comes before another try
	last     int       // the key of the latest request
	touched  int       // world.touches at the latest reply
	pauses   int       // how often it has paused
	owners   int       // how many it has claimed with
	nth      int       // the number of the call that is under way
	runs     int       // how often its operation has run
	asking   []*asking // calls under way; the inner ones are steps

	routine *coroutine // in which the caller lives, if it does
}

type callerKey struct{}

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

var (
	errPanic   = errors.New("check: operation panicked")
	errUnclear = errors.New("check: something went wrong")
	errBefore  = errors.New("check: not even begun")
	errDead    = fmt.Errorf("check: the process has crashed: %w", once.ErrClosed)
)

// current returns the innermost call under way for the key, or nil.
func (c *caller) current(key int) *asking {
	for _, a := range slices.Backward(c.asking) {
		if a.key == key {
			return a
		}
	}
	return nil
}

// ended notes that the caller has made so many calls.
func (w *world) ended(c *caller, calls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.nth, c.runs = calls, 0
	c.finished = calls == len(w.sc.calls[c.index])
	if len(c.process.callers) == 1 && !w.sc.timed {
		// The next call finds a process that has just started, so that nothing depends on how the
		// last one went.
		c.process.trace = digest{a: uint64(calls)}
		c.process.boot(w)
	}
}
