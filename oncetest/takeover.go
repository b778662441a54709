package oncetest

import (
	"time"

	"github.com/oncehq/once"
)

var takingOver = []property{
	{"a record in doubt must be taken over only if asked", takeoverAsked, leases},
	{"a record in doubt must be taken over only under the attempt limit", takeoverLimit, leases},
	{"a record in doubt must be taken over only by another owner", takeoverByOther, leases},
	{"a record in flight or done must not be taken over", takeoverOther, leases},
	{"after a takeover owner, lease and forget are the claim's", takeoverResult, leases},
	{"of many takeovers exactly one must win", takeoverByMany, leases},
	{"after a takeover the former owner has lost", takeoverLosers, leases},
}

func takeoverAsked(x *trial) {
	c := x.record(once.InDoubt)
	x.untouched(c.Key, func() {
		if got := x.stands(x.claimOn(c.Key)); got.State != once.InDoubt || got.Owner != c.Owner {
			x.Errorf("got the record %s, want the one in doubt", describe(got))
		}
	})
}

func takeoverLimit(x *trial) {
	const limit = 3
	c := x.newClaim()
	x.winsAnew(c)
	for attempt := 2; attempt <= limit; attempt++ {
		x.doubts(c)
		next := x.claimOn(c.Key)
		next.Takeover = attempt - 1
		x.untouched(c.Key, func() { x.stands(next) })
		next.Takeover = limit
		if rec := x.wins(next); rec.Attempt != attempt {
			x.Fatalf("takeover of attempt %d made attempt %d", attempt-1, rec.Attempt)
		}
		c = next
	}
	x.doubts(c)
	x.untouched(c.Key, func() {
		late := x.claimOn(c.Key)
		late.Takeover = limit
		x.stands(late)
	})
}

func takeoverByOther(x *trial) {
	c := x.record(once.InDoubt)
	c.Takeover = 100
	x.untouched(c.Key, func() { x.stands(c) })
}

func takeoverOther(x *trial) {
	for _, s := range []once.State{once.InFlight, once.Done} {
		c := x.record(s)
		x.untouched(c.Key, func() {
			late := x.claimOn(c.Key)
			late.Takeover = 100
			if got := x.stands(late); got.State != s {
				x.Errorf("got the record %s, want it %v", describe(got), s)
			}
		})
	}
}

func takeoverResult(x *trial) {
	c := x.record(once.InDoubt)
	before := x.load(c.Key)
	next := x.claimOn(c.Key)
	next.Takeover, next.Lease = 2, long/2
	rec := x.wins(next)
	if rec.Attempt != 2 {
		x.Errorf("attempt is %d, want 2", rec.Attempt)
	}
	if rec.Lease <= 0 || rec.Lease > next.Lease {
		x.Errorf("of a lease of %v, %v is left", next.Lease, rec.Lease)
	}
	if rec.Fingerprint != before.Fingerprint || !rec.Created.Equal(before.Created) {
		x.Error("the takeover changed the record's fingerprint or its creation")
	}
	x.untouched(c.Key, func() {
		if got := x.load(c.Key); got.Owner != next.Owner || got.State != once.InFlight {
			x.Errorf("after the takeover the record is %s, want the new owner's", describe(got))
		}
	})
	out := x.outcome()
	x.completes(next, out, long)
	if got := x.holds(c.Key, out); got.Attempt != 2 {
		x.Errorf("when done, attempt is %d, want 2", got.Attempt)
	}
}

func takeoverByMany(x *trial) {
	for range 4 {
		c := x.record(once.InDoubt)
		claims := make([]once.Claim, x.opt.Claimants)
		for i := range claims {
			claims[i] = x.claimOn(c.Key)
			claims[i].Takeover = 100
		}
		if n := len(x.race(claims, x.store)); n != 1 {
			x.Fatalf("%d of %d takeovers won, want 1", n, len(claims))
		}
		if got := x.load(c.Key); got.Attempt != 2 {
			x.Fatalf("after one takeover attempt is %d, want 2", got.Attempt)
		}
	}
}

func takeoverLosers(x *trial) {
	former := x.record(once.InDoubt)
	next := x.claimOn(former.Key)
	next.Takeover = 2
	x.wins(next)
	x.untouched(former.Key, func() { x.hasLost(former.Key, former.Owner) })

	// The former owner's claim, repeated, shows it that it lost.
	x.untouched(former.Key, func() { x.stands(former) })

	x.doubts(next)
	x.untouched(former.Key, func() { x.hasLost(former.Key, former.Owner) })
	out := x.outcome()
	x.completes(next, out, long)
	x.untouched(former.Key, func() { x.hasLost(former.Key, former.Owner) })
	x.holds(former.Key, out)
}

// hasLost checks that every verb of an owner is refused.
func (x *trial) hasLost(k once.Key, o once.Owner) {
	x.Helper()
	x.fails(once.ErrLost, x.store.Renew(x.ctx, k, o, 2*long), "renew by another")
	x.fails(once.ErrLost, x.store.Renew(x.ctx, k, o, 0), "end of the lease by another")
	for _, retention := range []time.Duration{2 * long, 0} {
		err := x.store.Complete(x.ctx, k, o, x.outcome(), retention)
		x.fails(once.ErrLost, err, "complete by another")
	}
	x.fails(once.ErrLost, x.store.Release(x.ctx, k, o), "release by another")
}
