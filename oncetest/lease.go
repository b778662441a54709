package oncetest

import (
	"time"

	"github.com/oncehq/once"
)

var leasing = []property{
	{"an operation is in doubt exactly when its lease is over", leaseEnds, leases},
	{"Renew makes the lease end this long from now", renewLease, leases},
	{"Renew with zero ends the lease at once", renewZero, leases},
	{"a record in doubt that nobody took over may be renewed", renewLate, leases},
	{"Renew must return ErrLost unless the caller is the owner", renewStranger, 0},
	{"Renew must return ErrLost when there is an outcome", renewDone, 0},
	{"Renew must return ErrLost when the operation is absent", renewAbsent, 0},
	{"a lease of any length is kept", leaseOfAnyLength, leases},
}

func leaseEnds(x *trial) {
	c := x.newClaim()
	c.Lease = x.opt.Lease
	claimed := during(func() { x.wins(c) })
	x.turns(c.Key, once.InFlight, once.InDoubt, claimed, c.Lease)
	if left := x.load(c.Key).Lease; left > 0 {
		x.Errorf("the record is in doubt, but %v of its lease are left", left)
	}
	if got := x.stands(x.claimOn(c.Key)); got.State != once.InDoubt || got.Lease > 0 {
		x.Errorf("a claim was shown %s, want the record in doubt", describe(got))
	}
}

func renewLease(x *trial) {
	short := x.newClaim()
	short.Lease = x.opt.Lease
	x.winsAnew(short)
	x.renews(short, long)
	if got := x.load(short.Key); got.Lease <= short.Lease || got.Lease > long {
		x.Errorf("after it was renewed by %v, %v of the lease are left", long, got.Lease)
	}

	tall := x.newClaim()
	x.winsAnew(tall)
	renewed := during(func() { x.renews(tall, x.opt.Lease) })
	x.turns(tall.Key, once.InFlight, once.InDoubt, renewed, x.opt.Lease)

	// By now the first lease would have been over, too.
	if got := x.load(short.Key); got.State != once.InFlight {
		x.Errorf("a record that was renewed is %v, want in-flight", got.State)
	}
}

func (x *trial) renews(c once.Claim, lease time.Duration) {
	x.Helper()
	x.ok(x.store.Renew(x.ctx, c.Key, c.Owner, lease), "renew by the owner")
}

func renewZero(x *trial) {
	c := x.newClaim()
	won := x.winsAnew(c)
	x.renews(c, 0)
	got := x.load(c.Key)
	if got.State != once.InDoubt || got.Lease > 0 {
		x.Fatalf("after its lease was ended, the record is %s, want in doubt", describe(got))
	}
	if got.Owner != c.Owner || got.Attempt != 1 || got.Fence != won.Fence {
		x.Errorf("the record changed from %s to %s", describe(won), describe(got))
	}
	x.renews(c, 0)
	if got := x.load(c.Key); got.State != once.InDoubt {
		x.Errorf("after its lease was ended twice, the record is %v, want in-doubt", got.State)
	}
}

func renewLate(x *trial) {
	c := x.record(once.InDoubt)
	x.renews(c, long)
	got := x.load(c.Key)
	if got.State != once.InFlight || got.Lease <= 0 || got.Lease > long || got.Attempt != 1 {
		x.Fatalf("after a late renewal the record is %s, want in flight", describe(got))
	}
	late := x.claimOn(c.Key)
	late.Takeover = 100
	x.untouched(c.Key, func() { x.stands(late) })
	out := x.outcome()
	x.completes(c, out, long)
	x.holds(c.Key, out)
}

func renewStranger(x *trial) {
	if x.opt.Transactional {
		c := x.newClaim()
		x.winsAnew(c)
		x.fails(once.ErrLost, x.store.Renew(x.ctx, c.Key, once.NewOwner(), long), "renew by a stranger")
		x.completes(c, x.outcome(), long)
		return
	}
	for _, s := range x.standing() {
		c := x.record(s)
		x.untouched(c.Key, func() {
			for _, lease := range []time.Duration{2 * long, 0} {
				x.fails(once.ErrLost, x.store.Renew(x.ctx, c.Key, once.NewOwner(), lease), "renew by a stranger")
			}
		})
	}
}

func renewDone(x *trial) {
	c := x.record(once.Done)
	x.untouched(c.Key, func() {
		for _, lease := range []time.Duration{2 * long, 0} {
			x.fails(once.ErrLost, x.store.Renew(x.ctx, c.Key, c.Owner, lease), "renew when done")
		}
	})
}

func renewAbsent(x *trial) {
	k := x.key()
	x.fails(once.ErrLost, x.store.Renew(x.ctx, k, once.NewOwner(), long), "renew of an absent key")
	x.absent(k)
}

func leaseOfAnyLength(x *trial) {
	for _, lease := range []time.Duration{once.Forever, once.Forever - 1, 100 * 365 * 24 * time.Hour} {
		c := x.newClaim()
		c.Lease, c.Forget = lease, lease
		x.winsAnew(c)
		x.flies(c.Key)
		x.doubts(c)
		x.renews(c, lease)
		x.flies(c.Key)
	}
}

// flies checks that the operation is in flight.
func (x *trial) flies(k once.Key) {
	x.Helper()
	if got := x.load(k); got.State != once.InFlight || got.Lease <= 0 {
		x.Fatalf("the record is %s, want in flight", describe(got))
	}
}
