package oncetest

import (
	"context"
	"sync"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

var waiting = []property{
	{"Wait notices every change that happens after it was called", waitAfter, leases},
	{"Wait notices every change that happened before", waitBefore, 0},
	{"Wait ends for all who wait", waitMany, leases},
	{"Wait through one handle notices what happens through another", waitHandles, second | leases},
	{"Wait ends with its context", waitCancelled, leases},
}

// endings are the ways in which an operation is no longer in flight under an owner.
func (x *trial) endings() map[string]func(once.Claim) {
	ways := map[string]func(once.Claim){
		"done":              func(c once.Claim) { x.completes(c, x.outcome(), long) },
		"done, unretained":  func(c once.Claim) { x.completes(c, x.outcome(), 0) },
		"released":          func(c once.Claim) { x.releases(c) },
		"ended":             func(c once.Claim) { x.renews(c, 0) },
		"taken over":        func(c once.Claim) { x.renews(c, 0); x.takes(c) },
		"taken over, ended": func(c once.Claim) { x.renews(c, 0); x.renews(x.takes(c), 0) },
		"claimed again":     func(c once.Claim) { x.releases(c); x.winsAnew(x.claimOn(c.Key)) },
	}
	if s, ok := x.store.(once.Forgetter); ok {
		ways["forgotten"] = func(c once.Claim) { x.ok(s.Forget(x.ctx, c.Key, c.Owner), "forget") }
	}
	if x.opt.Transactional {
		for _, way := range []string{"ended", "taken over", "taken over, ended"} {
			delete(ways, way)
		}
	}
	return ways
}

// takes takes over the claim, which is in doubt.
func (x *trial) takes(c once.Claim) once.Claim {
	x.Helper()
	next := x.claimOn(c.Key)
	next.Takeover = 100
	x.wins(next)
	return next
}

// patience is how long a wait may take that is to end at once, on a machine that is very busy.
const patience = 30 * time.Second

// waits waits for the claim's end. It returns an error if that does not come.
func (x *trial) waits(s once.Store, c once.Claim) error {
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	return s.(once.Waiter).Wait(ctx, c.Key, c.Owner)
}

// awaits checks that the change ends the waits of so many that wait for it through the store.
func (x *trial) awaits(s once.Store, waiters int, what string, change func(once.Claim)) {
	x.Helper()
	c := x.record(once.InFlight)
	errs := make([]error, waiters)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = x.waits(s, c) })
	}
	if x.opt.Bubble {
		synctest.Wait()
	} else {
		// Some rounds change what the waiters are yet to look at, others what they wait for.
		time.Sleep(time.Duration(x.rnd.Int64N(int64(20 * time.Millisecond))))
	}
	change(c)
	all.Wait()
	for _, err := range errs {
		x.ok(err, "wait for an operation that was "+what)
	}
}

func waitAfter(x *trial) {
	optional[once.Waiter](x)
	for what, change := range x.endings() {
		for range 4 {
			x.awaits(x.store, 1, what, change)
		}
	}
}

func waitBefore(x *trial) {
	optional[once.Waiter](x)
	for what, change := range x.endings() {
		c := x.newClaim()
		x.winsAnew(c)
		change(c)
		x.ok(x.waits(x.store, c), "wait for an operation that had been "+what)
	}
	x.ok(x.waits(x.store, x.newClaim()), "wait for an absent operation")
	done := x.record(once.Done)
	x.ok(x.waits(x.store, x.claimOn(done.Key)), "wait for another owner than the record has")
}

func waitMany(x *trial) {
	optional[once.Waiter](x)
	x.awaits(x.store, x.opt.Claimants, "done", func(c once.Claim) { x.completes(c, x.outcome(), long) })
	x.awaits(x.store, x.opt.Claimants, "released", func(c once.Claim) { x.releases(c) })
}

func waitHandles(x *trial) {
	optional[once.Waiter](x)
	other := x.opt.Second(x.T, x.store)
	for what, change := range x.endings() {
		x.awaits(other, 2, what, change)
	}
}

func waitCancelled(x *trial) {
	s := optional[once.Waiter](x)
	c := x.record(once.InFlight)
	ctx, cancel := context.WithCancel(x.ctx)
	ended := make(chan struct{})
	x.untouched(c.Key, func() {
		for _, ctx := range x.finished() {
			s.Wait(ctx, c.Key, c.Owner)
		}
		go func() {
			defer close(ended)
			s.Wait(ctx, c.Key, c.Owner)
		}()
		if x.opt.Bubble {
			synctest.Wait()
		}
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			x.Errorf("a wait goes on %v after its context ended", patience)
		}
	})
	x.releases(c)
	<-ended
}
