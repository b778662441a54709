package onceetcd

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// leaseUses is how many keys are attached to one etcd lease at most: all of them are deleted
	// in one step when it is over, and that step must not hold others up.
	leaseUses = 1000

	// longestLease is how long an etcd lease can last. What is to last longer is given none.
	longestLease = 9_000_000_000 * time.Second

	// idle is for how long a duration that nobody asks for is kept at hand.
	idle = time.Minute

	// retryGrant is the pause after a lease could not be had in the background.
	retryGrant = time.Second
)

// leases have etcd leases at hand that last as long as is asked for, and a little longer.
//
// An etcd lease is granted in a round trip of its own, written by every member, and takes up
// memory. So nothing waits for one, if possible, and many keys share it. For each duration that is
// asked for there is a lease in use, as long as it lasts at least that much longer; and a next
// one, to which nothing is attached yet, which is kept alive until it is its turn.
//
// How much longer a lease lasts is not known exactly, but at least how long: its time began not
// before it was asked for. The time since then is what this process measures, and it does not
// matter what time of day its clock shows. When the lease ends is the servers' decision alone.
type leases struct {
	etcd  leaser
	now   func() time.Time
	limit time.Duration // of a request in the background

	mu      sync.Mutex // guards the rest
	classes map[time.Duration]*class
	known   map[clientv3.LeaseID]span
	closed  bool

	wake    chan struct{} // something is to be done in the background
	stop    context.CancelFunc
	stopped context.Context
	running sync.WaitGroup
}

// A leaser is what is asked of etcd.
type leaser interface {
	grant(ctx context.Context, ttl int64) (clientv3.LeaseID, int64, error)
	keepAlive(ctx context.Context, id clientv3.LeaseID) (int64, error)
	revoke(ctx context.Context, id clientv3.LeaseID) error
	timeToLive(ctx context.Context, id clientv3.LeaseID) (int64, error)
}

// A class is the leases for one duration, as rounded up.
type class struct {
	lasts         time.Duration
	current, next *lease
	used          time.Time     // when it was last asked for
	took          time.Duration // how long it took to get the latest lease
	again         time.Time     // not to be tried again in the background before
	flight        *flight       // a lease is being granted
}

// A lease is one of etcd's.
type lease struct {
	id clientv3.LeaseID
	span
	uses     int
	renewing bool
}

// A span is a time to live that began not before an instant.
type span struct {
	since time.Time
	lasts time.Duration
}

// A flight is a grant that is under way. Its err is valid when done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// left returns how much of the span is left at least. A machine that was asleep may not have
// counted that time, but shows a later time of day; one whose time of day was set forward only
// asks for a lease too early.
func (s span) left(now time.Time) time.Duration {
	return s.lasts - max(now.Sub(s.since), now.Round(0).Sub(s.since.Round(0)))
}

func (l *lease) fit(lasts time.Duration, now time.Time) bool {
	return l != nil && l.uses < leaseUses && l.left(now) >= lasts
}

func newLeases(etcd leaser, limit time.Duration) *leases {
	p := &leases{
		etcd:    etcd,
		now:     time.Now,
		limit:   limit,
		classes: make(map[time.Duration]*class),
		known:   make(map[clientv3.LeaseID]span),
		wake:    make(chan struct{}, 1),
	}
	p.stopped, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.tend)
	return p
}

// roundUp rounds a duration up by less than a 32nd of it, so that there are few different ones.
func roundUp(d time.Duration) time.Duration {
	step := time.Duration(1) << max(bits.Len64(uint64(d))-6, 0)
	return (d + step - 1) / step * step
}

// spare is by how much longer the lease lasts when it is new: the time in which it is of use.
func (c *class) spare() time.Duration { return max(time.Second/2, c.lasts/64) + c.took }

// take returns a lease that lasts at least d from now, and for how much longer.
func (p *leases) take(ctx context.Context, d time.Duration) (ending, error) {
	if d > longestLease-longestLease/16 {
		return ending{lasts: d}, nil
	}
	lasts := roundUp(d)
	for {
		now := p.now()
		p.mu.Lock()
		c := p.classes[lasts]
		if c == nil {
			c = &class{lasts: lasts}
			p.classes[lasts] = c
		}
		c.used = now
		if !c.current.fit(lasts, now) && c.next.fit(lasts, now) {
			c.current, c.next = c.next, nil
		}
		if l := c.current; l.fit(lasts, now) {
			if l.uses++; l.uses == 1 {
				p.poke() // the next one will be needed
			}
			e := ending{lease: l.id, lasts: d, excess: l.left(now) - d}
			p.mu.Unlock()
			return e, nil
		}
		f := p.fetch(c)
		p.mu.Unlock()
		select {
		case <-f.done:
			if f.err != nil {
				return ending{}, f.err
			}
		case <-ctx.Done():
			return ending{}, ctx.Err()
		}
	}
}

// fetch has a lease granted for the class, once for all who need it. The mutex is held.
func (p *leases) fetch(c *class) *flight {
	if c.flight != nil {
		return c.flight
	}
	f := &flight{done: make(chan struct{})}
	if p.closed {
		f.err = errStopped
		close(f.done)
		return f
	}
	c.flight = f
	ttl := int64((c.lasts + c.spare() + time.Second - 1) / time.Second)
	p.running.Go(func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(p.stopped, p.limit)
		defer cancel()
		sent := p.now()
		id, ttl, err := p.etcd.grant(ctx, ttl)
		now := p.now()
		p.mu.Lock()
		defer p.mu.Unlock()
		c.flight, f.err = nil, err
		if err != nil {
			c.again = now.Add(retryGrant)
			return
		}
		l := &lease{id: id, span: span{sent, time.Duration(ttl) * time.Second}}
		p.note(id, l.span)
		c.took = now.Sub(sent)
		if c.current.fit(c.lasts, now) {
			c.next = l
		} else {
			c.current = l
		}
		p.poke()
	})
	return f
}

var errStopped = errors.New("onceetcd: leases are no longer granted")

// drop forgets a lease that etcd no longer has.
func (p *leases) drop(id clientv3.LeaseID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.classes {
		if c.current != nil && c.current.id == id {
			c.current = nil
		}
		if c.next != nil && c.next.id == id {
			c.next = nil
		}
	}
	delete(p.known, id)
}

func (p *leases) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// isLeaseGone reports whether etcd no longer has the lease that was to be used.
func isLeaseGone(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }
