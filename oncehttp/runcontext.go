package oncehttp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// runContext is the context that the handler runs under. It carries what that of the attempt does,
// and is done when the lease is lost, with the cause [once.ErrLost], or when the handler has
// returned. Unlike that of the attempt it goes on when the outcome is recorded while the handler is still
// streaming. It costs nothing until somebody asks for its Done channel.
type runContext struct {
	attempt context.Context
	control *control

	mu     sync.Mutex // guards the rest
	inner  context.Context
	cancel context.CancelCauseFunc
	stop   func() bool
	over   bool
}

func (c *runContext) Deadline() (time.Time, bool) { return c.attempt.Deadline() }
func (c *runContext) Done() <-chan struct{}       { return c.full().Done() }

// full returns the context that does the work.
func (c *runContext) full() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner
	}
	inner, cancel := context.WithCancelCause(context.WithoutCancel(c.attempt))
	c.inner, c.cancel = inner, cancel
	lost := func() {
		if cause := context.Cause(c.attempt); errors.Is(cause, once.ErrLost) {
			cancel(cause)
		}
	}
	switch {
	case c.over:
		cancel(nil)
	case c.attempt.Err() != nil:
		lost()
	default:
		c.stop = context.AfterFunc(c.attempt, lost)
	}
	return c.inner
}

func (c *runContext) Err() error {
	c.mu.Lock()
	idle := c.inner == nil && !c.over && c.attempt.Err() == nil
	c.mu.Unlock()
	if idle {
		return nil
	}
	return c.full().Err()
}

// Value asks the full context if there is one, for context.Cause.
func (c *runContext) Value(key any) any {
	if _, ok := key.(controlKey); ok {
		return c.control
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.attempt.Value(key)
}

// end ends the context.
func (c *runContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel(nil)
	}
	if c.stop != nil {
		c.stop()
	}
}
