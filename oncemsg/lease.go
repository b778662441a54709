package oncemsg

import (
	"context"
	"sync"
	"time"
)

// extendLease renews the broker's lease, every third of it, until the function that it returns was
// called. After that nothing is said to the broker any more. The end of ctx does not end it: a handler
// that has not returned yet has the message in hand, and its claim is renewed as well.
//
// That it cannot be renewed does not stop the handler: another copy is delivered then, and
// finds this one in flight.
func extendLease(ctx context.Context, m Message) (stop func()) {
	if m.Verbs.Extend == nil || m.Lease <= 0 {
		return func() {}
	}
	first := m.Lease / 3
	if !m.Deadline.IsZero() {
		first = min(first, time.Until(m.Deadline)-m.Lease*2/3)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k := &keeper{ctx: ctx, extend: m.Verbs.Extend, every: m.Lease / 3}
	k.mu.Lock()
	k.timer = time.AfterFunc(max(first, 0), k.beat)
	k.mu.Unlock()
	return func() {
		cancel()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.timer.Stop()
	}
}

// A keeper renews one broker's lease.
type keeper struct {
	ctx    context.Context
	extend func(context.Context) error
	every  time.Duration

	mu    sync.Mutex // held while the broker is called, so that stop waits for that
	timer *time.Timer
}

func (k *keeper) beat() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(k.ctx, k.every)
	defer cancel()
	next := k.every
	if k.extend(ctx) != nil {
		next /= 4 // there is time for more than one try
	}
	k.timer.Reset(next)
}
