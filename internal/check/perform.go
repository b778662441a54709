package check

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// live is the caller's life: one call after the other.
func (c *caller) live() {
	for i, call := range c.w.sc.calls[c.index] {
		if c.process.dead {
			return
		}
		c.call(call)
		c.w.ended(c, i+1)
	}
}

// call asks for one operation and shows what it is told to the checks.
func (c *caller) call(call call) {
	k := call.key
	if call.lock {
		k = lockKey(k)
	}
	a := c.w.asks(c, k, call.fingerprint())
	defer func() {
		if p := recover(); p != nil {
			if p != any(errPanic) {
				panic(p)
			}
			c.w.told(c, a, "", errPanic)
		}
	}()
	op := func(ctx context.Context, t turn) (string, error) { return c.run(ctx, a, t, call) }
	if call.lock {
		a.lock = true
		c.w.told(c, a, "", c.process.lock(c.ctx, call.key, op))
		return
	}
	v, err := c.process.do(c.ctx, call.key, call.fingerprint(), op)
	c.w.told(c, a, v, err)
}

// run is the operation: its steps, its work, and its effect.
func (c *caller) run(ctx context.Context, a *asking, t turn, call call) (string, error) {
	c.w.begins(ctx, c, a, t)
	defer c.w.returns(a)
	for _, name := range call.steps {
		if _, a.err = c.step(ctx, call.key, name); a.err != nil {
			return "", a.err
		}
	}
	if call.works > 0 {
		time.Sleep(call.works)
		if call.heeds && ctx.Err() != nil {
			a.err = ctx.Err()
			return "", a.err
		}
	}
	return c.operate(ctx, a)
}

// step runs a step of the operation under way.
func (c *caller) step(ctx context.Context, parent once.Key, name string) (string, error) {
	a := c.w.asks(c, stepKey(parent, name), once.Fingerprint{})
	v, err := once.Step(ctx, name, func(ctx context.Context) (string, error) {
		at, _ := once.FromContext(ctx)
		return c.run(ctx, a, turnOf(at), call{})
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

// guarded is the performer that is to be checked.
func guarded(g *once.Guard) performer {
	return func(ctx context.Context, k once.Key, fp once.Fingerprint, op operation) (string, error) {
		return once.Do(ctx, g, k, fp, func(ctx context.Context) (string, error) {
			a, _ := once.FromContext(ctx)
			return op(ctx, turnOf(a))
		})
	}
}

// locked returns the same for locks.
func locked(g *once.Guard) locker {
	return func(ctx context.Context, k once.Key, op operation) error {
		return once.Lock(ctx, g, k, func(ctx context.Context, _ uint64) error {
			a, _ := once.FromContext(ctx)
			_, err := op(ctx, turnOf(a))
			return err
		})
	}
}

func turnOf(a *once.Attempt) turn { return turn{a.Owner(), a.Number(), a.Fence()} }

// stepKey is how [once.Step] names a step, and lockKey how [once.Lock] names a lock.
func stepKey(parent once.Key, name string) once.Key {
	return once.Key{Scope: parent.Scope + stepScope, ID: parent.ID + "/" + name}
}

func lockKey(k once.Key) once.Key { return once.Key{Scope: k.Scope + lockScope, ID: k.ID} }

const (
	stepScope = "\x00step"
	lockScope = "\x00lock"
)

func isStep(k once.Key) bool { return strings.HasSuffix(k.Scope, stepScope) }
func isLock(k once.Key) bool { return strings.HasSuffix(k.Scope, lockScope) }

// text is a codec that keeps results of type string as they are.
type text struct{}

func (text) Type() string                  { return "text/plain" }
func (text) Marshal(v any) ([]byte, error) { return []byte(v.(string)), nil }
func (text) Unmarshal(b []byte, v any) error {
	*v.(*string) = string(b)
	return nil
}
