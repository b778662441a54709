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
	dead    bool
	trace   digest // of all that the process was told, in that order: its state follows from it
}

// lives reports whether the process will ever do anything again.
func (p *process) lives() bool {
	return !p.dead && slices.ContainsFunc(p.callers, func(c *caller) bool { return !c.finished })
}

// A performer runs an operation once: [once.Do] over a guard, or what a mutant has in its place.
type performer func(ctx context.Context, k once.Key, fp once.Fingerprint, op operation) (string, error)

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
	owners   int       // how many it has claimed with
	nth      int       // the number of the call that is under way
	runs     int       // how often its operation has run
	asking   []*asking // calls under way; the inner ones are steps

	routine *coroutine // in which the caller lives, if it does
}

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
	ctx     context.Context // of the operation, while it runs
	holds   turn            // the attempt that the caller believes to own; zero when it has ended
}

// returns notes that the operation runs no longer.
func (a *asking) returns() { a.ctx = nil }

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

// live is the caller's life: one call after the other.
func (c *caller) live() {
	for i, call := range c.w.sc.calls[c.index] {
		if c.process.dead {
			return
		}
		c.call(call)
		c.nth, c.runs = i+1, 0
		if len(c.process.callers) == 1 && !c.w.sc.timed {
			// The next call finds a process that has just started, so that nothing depends on how
			// the last one went.
			c.process.trace = digest{a: uint64(c.nth)}
			c.process.do = c.w.newProcess().do
		}
	}
	c.w.finish(c)
}

// call asks for one operation and shows what it is told to the checks.
func (c *caller) call(call call) {
	a := c.w.asks(c, c.w.index(call.key), call.fingerprint())
	told := func(v string, err error) { c.w.told(c, a, v, err) }
	defer func() {
		if p := recover(); p != nil {
			if p != any(errPanic) {
				panic(p)
			}
			told("", errPanic)
		}
	}()
	told(c.process.do(c.ctx, call.key, call.fingerprint(), func(ctx context.Context, t turn) (string, error) {
		c.w.begins(ctx, c, a, t)
		defer a.returns()
		for _, name := range call.steps {
			if _, err := c.step(ctx, call.key, name); err != nil {
				return "", err
			}
		}
		return c.operate(ctx, a)
	}))
}

// step runs a step of the operation under way.
func (c *caller) step(ctx context.Context, parent once.Key, name string) (string, error) {
	k := stepKey(parent, name)
	a := c.w.asks(c, c.w.index(k), once.Fingerprint{})
	v, err := once.Step(ctx, name, func(ctx context.Context) (string, error) {
		at, _ := once.FromContext(ctx)
		c.w.begins(ctx, c, a, turnOf(at))
		defer a.returns()
		return c.operate(ctx, a)
	})
	c.w.told(c, a, v, err)
	return v, err
}

// operate is the part of an operation in which it takes effect.
func (c *caller) operate(ctx context.Context, a *asking) (string, error) {
	r := &request{caller: c, verb: effect, key: a.key, owner: a.holds.owner}
	r.outcome.data = c.outcome(a.key)
	c.w.ask(context.WithoutCancel(ctx), r) // it does not heed a lease that was lost
	if r.err != nil {
		return "", r.err
	}
	switch r.ending {
	case fails:
		a.own = r.outcome.data
		a.err = once.Final(errors.New(a.own))
	case nothing:
		a.err = once.NoEffect(errBefore)
	case unclear:
		a.err = errUnclear
	case giveUp:
		a.err = errBefore
	case rollsBack:
		a.err = once.ErrRolledBack
	case panics:
		panic(errPanic)
	default:
		a.own = r.outcome.data
		return a.own, nil
	}
	return "", a.err
}

// outcome returns what the operation comes to if this caller runs it now: no two runs come to
// the same.
func (c *caller) outcome(key int) string {
	c.runs++
	return string([]byte{
		'k', byte('0' + key), 'c', byte('0' + c.index), '.', byte('0' + c.nth), '.', byte('0' + c.runs),
	})
}

// current returns the innermost call under way for the key, or nil.
func (c *caller) current(key int) *asking {
	for _, a := range slices.Backward(c.asking) {
		if a.key == key {
			return a
		}
	}
	return nil
}

// guarded is the performer that is to be checked.
func guarded(g *once.Guard) performer {
	return func(ctx context.Context, k once.Key, fp once.Fingerprint, op operation) (string, error) {
		return once.Do(ctx, g, k, fp, func(ctx context.Context) (string, error) {
			a, _ := once.FromContext(ctx)
			return op(ctx, turnOf(a))
		})
	}
}

func turnOf(a *once.Attempt) turn { return turn{a.Owner(), a.Number(), a.Fence()} }

// stepKey is how [once.Step] names a step.
func stepKey(parent once.Key, name string) once.Key {
	return once.Key{Scope: parent.Scope + "\x00step", ID: parent.ID + "/" + name}
}

// text is a codec that keeps results of type string as they are.
type text struct{}

func (text) Type() string                  { return "text/plain" }
func (text) Marshal(v any) ([]byte, error) { return []byte(v.(string)), nil }
func (text) Unmarshal(b []byte, v any) error {
	*v.(*string) = string(b)
	return nil
}

// finish notes that the caller has nothing left to ask for.
func (w *world) finish(c *caller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.finished = true
}
