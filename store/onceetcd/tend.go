package onceetcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// tend does in the background what verbs would otherwise have to wait for: it has the next leases
// granted, keeps those alive to which nothing is attached yet, and gives them back when nobody
// has asked for their duration for some time.
func (p *leases) tend() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.stopped.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		timer.Reset(p.round())
	}
}

// round looks after all classes once, and returns when it is time for the next round.
func (p *leases) round() time.Duration {
	pause := idle
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.classes {
		if now.Sub(c.used) > max(idle, 2*c.spare()) {
			p.abandon(c)
			continue
		}
		if c.next == nil && c.flight == nil && c.current != nil && c.current.uses > 0 {
			if wait := c.again.Sub(now); wait > 0 {
				pause = min(pause, wait)
			} else {
				p.fetch(c)
			}
		}
		for _, l := range []*lease{c.current, c.next} {
			if l == nil || l.uses > 0 || l.renewing {
				continue
			}
			// At half of the time in which it is of use, so that one attempt may fail.
			due := l.left(now) - c.lasts - (l.lasts-c.lasts)/2
			if due <= 0 {
				p.renew(c, l)
			} else {
				pause = min(pause, due)
			}
		}
	}
	return max(pause, time.Millisecond)
}

// renew keeps a lease alive to which nothing is attached. The mutex is held.
func (p *leases) renew(c *class, l *lease) {
	l.renewing = true
	p.running.Go(func() {
		ctx, cancel := context.WithTimeout(p.stopped, p.limit)
		defer cancel()
		sent := p.now()
		ttl, err := p.etcd.keepAlive(ctx, l.id)
		p.mu.Lock()
		defer p.mu.Unlock()
		l.renewing = false
		switch {
		case err == nil && l.uses == 0:
			l.span = span{sent, time.Duration(ttl) * time.Second}
			p.note(l.id, l.span)
		case err != nil && c.next == l: // there will be another one
			c.next, c.again = nil, p.now().Add(retryGrant)
		case err != nil && c.current == l && l.uses == 0:
			c.current = nil
		}
		p.poke()
	})
}

// abandon gives up a class, and gives back what nothing is attached to. The mutex is held.
func (p *leases) abandon(c *class) {
	delete(p.classes, c.lasts)
	for _, l := range []*lease{c.current, c.next} {
		if l != nil && l.uses == 0 {
			delete(p.known, l.id)
			p.running.Go(func() {
				ctx, cancel := context.WithTimeout(p.stopped, p.limit)
				defer cancel()
				p.etcd.revoke(ctx, l.id) // else it runs out
			})
		}
	}
}

// close gives back the leases to which nothing is attached, if etcd answers within the context.
// The others are needed, and run out by themselves.
func (p *leases) close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	var flights []*flight
	for _, c := range p.classes {
		if c.flight != nil {
			flights = append(flights, c.flight)
		}
	}
	p.mu.Unlock()
	for _, f := range flights { // of what is cut short one would not know which lease it was
		select {
		case <-f.done:
		case <-ctx.Done():
		}
	}
	p.stop()
	p.running.Wait()
	var unused []clientv3.LeaseID
	p.mu.Lock()
	for _, c := range p.classes {
		for _, l := range []*lease{c.current, c.next} {
			if l != nil && l.uses == 0 {
				unused = append(unused, l.id)
			}
		}
	}
	p.mu.Unlock()
	for _, id := range unused {
		if p.etcd.revoke(ctx, id) != nil {
			return
		}
	}
}

// knownLeases is how many leases are remembered before those that are over are forgotten.
const knownLeases = 1 << 16

// note remembers when a lease ends at the earliest. The mutex is held.
func (p *leases) note(id clientv3.LeaseID, s span) {
	if len(p.known) >= knownLeases {
		now := p.now()
		for id, s := range p.known {
			if s.left(now) <= 0 {
				delete(p.known, id)
			}
		}
		if len(p.known) > knownLeases/2 {
			clear(p.known) // they can be asked for again
		}
	}
	p.known[id] = s
}

// left returns how much longer the lease lasts at least. It asks etcd if this process neither had
// it granted nor asked before.
func (p *leases) left(ctx context.Context, id clientv3.LeaseID) (time.Duration, error) {
	sent := p.now()
	p.mu.Lock()
	s, ok := p.known[id]
	p.mu.Unlock()
	if left := s.left(sent); ok && left > 0 {
		return left, nil
	}
	ttl, err := p.etcd.timeToLive(ctx, id)
	if err != nil || ttl <= 0 {
		return 0, err
	}
	s = span{sent, time.Duration(ttl) * time.Second}
	p.mu.Lock()
	p.note(id, s)
	p.mu.Unlock()
	return s.left(p.now()), nil
}
