package oncehttp

import (
	"context"
	"sync"
	"time"
)

// A control is what the handler has said about its response.
type control struct {
	mu        sync.Mutex // guards the rest
	decision  Decision   // zero: by the status
	noStore   bool
	retention time.Duration // zero: by the configuration
}

type controlKey struct{}

// told applies f to the control of the guarded request to which ctx belongs, if there is one.
func told(ctx context.Context, f func(*control)) bool {
	c, ok := ctx.Value(controlKey{}).(*control)
	if ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		f(c)
	}
	return ok
}

// Final says that the response is the outcome, whatever its status: it is recorded and replayed.
// For a handler to call with the context of its request, before it returns; so are the others,
// of which the last call counts. They report whether the request is guarded at all, and do nothing
// if it is not.
func Final(ctx context.Context) bool {
	return told(ctx, func(c *control) { c.decision = Complete })
}

// NoEffect says that nothing happened, whatever the status of the response: the next caller with
// the key may run.
//
// Say so only if it is certain. A time-out of the effect leaves it open; see [InDoubt].
func NoEffect(ctx context.Context) bool {
	return told(ctx, func(c *control) { c.decision = Release })
}

// InDoubt says that it is not known if anything happened, whatever the status of the response:
// the policy of the guard decides what the next caller may do.
func InDoubt(ctx context.Context) bool {
	return told(ctx, func(c *control) { c.decision = Abandon })
}

// NoStore says that the body of the response must not be kept, because it is secret or goes stale.
// The operation is still done once: later callers are told that it is (410).
func NoStore(ctx context.Context) bool {
	return told(ctx, func(c *control) { c.noStore = true })
}

// SetRetention sets how long the response is replayed, instead of [Config.Retention]. It must be
// positive; zero takes it back.
func SetRetention(ctx context.Context, d time.Duration) bool {
	return told(ctx, func(c *control) { c.retention = max(d, 0) })
}
