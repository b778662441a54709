package once

import (
	"context"
	"sync"
	"time"
)

// A lazyContext is a context that costs nothing until somebody asks for its Done channel, which
// a store without I/O and many an operation never do. It serves one call of a store, or the
// operation itself.
type lazyContext struct {
	parent   context.Context
	detached bool      // goes on when the parent is done; has only its values
	deadline time.Time // zero: none
	attempt  *Attempt  // what FromContext finds; nil: ask the parent

	mu     sync.Mutex // guards the rest
	inner  context.Context
	cancel context.CancelCauseFunc // if there is no deadline
	stop   context.CancelFunc      // if there is one
	over   bool
}

func (c *lazyContext) Deadline() (time.Time, bool) {
	if !c.detached {
		if d, ok := c.parent.Deadline(); ok && (c.deadline.IsZero() || d.Before(c.deadline)) {
			return d, true
		}
	}
	return c.deadline, !c.deadline.IsZero()
}

func (c *lazyContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full().Done()
}

// full returns the context that does the work. The mutex must be held.
func (c *lazyContext) full() context.Context {
	if c.inner != nil {
		return c.inner
	}
	base := c.parent
	if c.detached {
		base = context.WithoutCancel(base)
	}
	if c.deadline.IsZero() {
		c.inner, c.cancel = context.WithCancelCause(base)
	} else {
		c.inner, c.stop = context.WithDeadline(base, c.deadline)
	}
	if c.over {
		c.free(nil)
	}
	return c.inner
}

// free ends the full context, if there is one. The mutex must be held.
func (c *lazyContext) free(cause error) {
	if c.cancel != nil {
		c.cancel(cause)
	}
	if c.stop != nil {
		c.stop()
	}
}

func (c *lazyContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Err()
	}
	if !c.detached {
		if err := c.parent.Err(); err != nil {
			return err
		}
	}
	switch {
	case c.over:
		return context.Canceled
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value asks the full context if there is one, so that a context derived from c finds it and
// needs no goroutine to follow it.
func (c *lazyContext) Value(key any) any {
	if _, ok := key.(attemptKey); ok && c.attempt != nil {
		return c.attempt
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.parent.Value(key)
}

// end ends the context and frees what it holds. A cause other than nil is kept for
// context.Cause, unless there is a deadline.
func (c *lazyContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause != nil && !c.over {
		c.full()
	}
	c.over = true
	c.free(cause)
}

type attemptKey struct{}

// FromContext returns the attempt under which ctx runs, the innermost one, if there is any.
func FromContext(ctx context.Context) (*Attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*Attempt)
	return a, ok
}
