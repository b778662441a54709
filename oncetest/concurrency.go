package oncetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

var concurring = []property{
	{"every caller is given the outcome of the one that ran", everyCallerSame, 0},
	{"at most one owner's verbs succeed", oneOwnerSucceeds, leases},
	{"all verbs on one key appear to happen one after the other", linearizable, leases},
}

// everyCallerSame lets many callers do what a guard does, and counts how often the operation ran.
func everyCallerSame(x *trial) {
	k := x.key()
	var ran atomic.Int32
	outcomes := make([]once.Outcome, x.opt.Claimants)
	errs := make([]error, len(outcomes))
	var all sync.WaitGroup
	for i := range outcomes {
		c := x.claimOn(k)
		all.Go(func() { outcomes[i], errs[i] = x.runOnce(c, &ran) })
	}
	all.Wait()
	for i := range outcomes {
		x.ok(errs[i], "a caller among many")
		if !outcomes[i].Equal(outcomes[0]) {
			x.Fatalf("one caller got the outcome %s, another %s", outline(outcomes[0]), outline(outcomes[i]))
		}
	}
	if n := ran.Load(); n != 1 {
		x.Fatalf("the operation ran %d times, want 1", n)
	}
	x.holds(k, outcomes[0])
}

// runOnce claims until there is an outcome, be it the caller's own.
func (x *trial) runOnce(c once.Claim, ran *atomic.Int32) (once.Outcome, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		rec, err := x.store.Claim(x.ctx, c)
		switch {
		case x.opt.Transactional && errors.Is(err, once.ErrInFlight):
		case err != nil:
			return once.Outcome{}, err
		case rec.State == once.Done:
			return rec.Outcome, nil
		case rec.Won(c):
			ran.Add(1)
			out := x.outcome()
			return out, x.store.Complete(x.ctx, c.Key, c.Owner, out, long)
		}
		if time.Now().After(deadline) {
			return once.Outcome{}, errors.New("no outcome after a minute")
		}
		time.Sleep(time.Millisecond)
	}
}

// oneOwnerSucceeds lets an owner whose lease is over and some that take over complete at the same
// time, each with another outcome. Exactly one can: the record has one owner at a time, and with
// an outcome it is not taken over.
func oneOwnerSucceeds(x *trial) {
	rounds := 10
	if x.opt.Bubble {
		rounds = 80
	}
	for range rounds {
		owners := []once.Claim{x.record(once.InDoubt)}
		for range 1 + x.rnd.IntN(4) {
			c := x.claimOn(owners[0].Key)
			c.Takeover = 100
			owners = append(owners, c)
		}
		x.rnd.Shuffle(len(owners), func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
		x.rival(owners)
	}
}

// rival lets each of the owners claim the key and complete it.
func (x *trial) rival(owners []once.Claim) {
	x.Helper()
	outcomes, errs := make([]once.Outcome, len(owners)), make([]error, len(owners))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i, c := range owners {
		outcomes[i] = x.outcome()
		all.Go(func() {
			<-start
			if _, errs[i] = x.store.Claim(x.ctx, c); errs[i] == nil {
				errs[i] = x.store.Complete(x.ctx, c.Key, c.Owner, outcomes[i], long)
			}
		})
	}
	close(start)
	all.Wait()
	final, succeeded := x.load(owners[0].Key), 0
	for i, err := range errs {
		if err != nil {
			x.fails(once.ErrLost, err, "complete beside others")
			continue
		}
		succeeded++
		if !final.Outcome.Equal(outcomes[i]) || final.Owner != owners[i].Owner {
			x.Fatalf("a completion succeeded with %s, but the record is %s",
				outline(outcomes[i]), describe(final))
		}
	}
	if succeeded != 1 {
		x.Fatalf("%d completions succeeded, each with another outcome, want 1", succeeded)
	}
}
