package once

import (
	"context"
	"errors"
	"time"
)

// beatAfter is the time between two renewals: a third of the lease, so that one may fail.
func (g *Guard) beatAfter() time.Duration { return max(g.cfg.Lease/3, 1) }

// margin is how long before the end of its lease an owner gives up, so that it has stopped by
// the time that another one may take over.
func (g *Guard) margin() time.Duration { return g.cfg.Lease / 10 }

// tick renews what is due, each in a goroutine of its own, for a store may be slow.
func (g *Guard) tick() {
	for _, f := range g.flights.takeDue(g.tick) {
		go f.a.beat()
	}
}

// beat renews the lease. While it is under way a timer is set to the end of the lease: a store
// that does not answer must not keep the owner from stopping in time.
func (a *Attempt) beat() {
	sent := time.Now()
	lapse := a.g.flights.expires(&a.flight).Add(-a.g.margin())
	a.mu.Lock()
	if a.ended || a.lost {
		a.mu.Unlock()
		return
	}
	if !sent.Before(lapse) {
		a.mu.Unlock()
		a.lapse()
		return
	}
	// A reply that is lost must not cost the whole lease: it leaves time for another try.
	deadline := sent.Add(max(a.g.beatAfter()/2, 1))
	if lapse.Before(deadline) {
		deadline = lapse
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(a.parent), deadline)
	a.stopBeat = cancel // the attempt's end frees a renewal that hangs
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(lapse.Sub(sent), a.lapse)
	a.mu.Unlock()

	err := a.g.store.Renew(ctx, a.rec.Key, a.rec.Owner, a.g.cfg.Lease)
	cancel()
	a.beaten(sent, lapse, err)
}

// beaten takes note of what came of the renewal that was sent at that instant; at lapse it is
// time to give up.
func (a *Attempt) beaten(sent, lapse time.Time, err error) {
	a.mu.Lock()
	if a.ended || a.lost {
		a.mu.Unlock()
		return
	}
	if err == nil || errors.Is(err, ErrLost) {
		a.timer.Stop()
	} else if a.timer.Stop() {
		// Try again soon, at the latest when it is time to give up.
		soon := max(a.g.beatAfter()/8, time.Millisecond)
		a.timer = time.AfterFunc(min(soon, time.Until(lapse)), a.beat)
	}
	a.mu.Unlock()
	switch {
	case err == nil:
		a.g.flights.queue(&a.flight, after(sent, a.g.cfg.Lease), sent.Add(a.g.beatAfter()), a.g.tick)
	case errors.Is(err, ErrLost):
		a.lose(err)
		return
	}
	a.tell(Renewed, err)
}

// lapse gives up: the lease is nearly over and could not be renewed.
func (a *Attempt) lapse() { a.lose(ErrLost) }

// lose stops the operation. The owner may still complete it as long as nobody has taken over.
func (a *Attempt) lose(err error) {
	a.mu.Lock()
	if a.ended || a.lost {
		a.mu.Unlock()
		return
	}
	a.lost = true
	a.mu.Unlock()
	a.ctx.end(ErrLost)
	a.g.flights.land(a.rec.Key, &a.flight, nil)
	a.tell(OwnerLost, err)
}
