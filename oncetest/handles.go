package oncetest

import (
	"time"

	"github.com/oncehq/once"
)

var sharing = []property{
	{"two handles see each other's records", handlesSee, second | leases},
	{"two handles see each other's outcomes", handlesOutcomes, second},
	{"of many claims over two handles exactly one must win", handlesContend, second},
	{"all verbs through two handles appear to happen one after the other", handlesLinear, second | leases},
	{"an owner keeps its claim whichever handle it uses", handlesOwner, second | leases},
	{"Fence grows over all handles", handlesFence, second},
	{"what was acknowledged is there when the store is opened again", reopenKeeps, reopening},
	{"claims are there when the store is opened again", reopenClaims, reopening | leases},
	{"what is gone stays gone when the store is opened again", reopenGone, reopening},
	{"a client's clock that is wrong by hours changes nothing", clockSkew, skewing | leases},
}

// through tells the story with the handle in place of the store.
func (x *trial) through(s once.Store, story func()) {
	x.Helper()
	defer func(before once.Store) { x.store = before }(x.store)
	x.store = s
	story()
}

func handlesSee(x *trial) {
	other := x.opt.Second(x.T, x.store)
	for _, s := range x.standing() {
		c := x.record(s)
		here := x.load(c.Key)
		x.through(other, func() {
			there := x.load(c.Key)
			if there.State != s || there.Owner != c.Owner || there.Fence != here.Fence {
				x.Fatalf("the other handle sees %s, want %s", describe(there), describe(here))
			}
			x.untouched(c.Key, func() {
				x.stands(x.claimOn(c.Key))
				x.mismatches(x.elsewise(c))
				x.hasLost(c.Key, once.NewOwner())
			})
		})
	}
	for _, change := range x.endings() {
		c := x.record(once.InFlight)
		x.seesAlike(c.Key, other)
		change(c)
		x.seesAlike(c.Key, other)
	}
}

func handlesOutcomes(x *trial) {
	other := x.opt.Second(x.T, x.store)
	for range 5 {
		c, out := x.newClaim(), x.outcome()
		x.winsAnew(c)
		x.completes(c, out, long)
		x.through(other, func() {
			x.holds(c.Key, out)
			x.stands(x.claimOn(c.Key))
			x.mismatches(x.elsewise(c))
			x.fails(once.ErrLost, x.store.Complete(x.ctx, c.Key, c.Owner, x.outcome(), long),
				"complete with another outcome through another handle")
		})
		x.holds(c.Key, out)
	}
}

func handlesContend(x *trial) {
	other := x.opt.Second(x.T, x.store)
	for range 8 {
		x.contend(x.store, other)
	}
}

func handlesLinear(x *trial) { x.linear(x.store, x.opt.Second(x.T, x.store)) }

func handlesOwner(x *trial) {
	other := x.opt.Second(x.T, x.store)
	c := x.newClaim()
	x.winsAnew(c)
	x.through(other, func() {
		x.wins(c) // repeated
		x.doubts(c)
		x.renews(c, long)
		x.doubts(c)
	})
	next := x.claimOn(c.Key)
	next.Takeover = 2
	x.wins(next)
	out := x.outcome()
	x.through(other, func() {
		x.hasLost(c.Key, c.Owner)
		x.completes(next, out, long)
	})
	x.holds(c.Key, out)
}

func handlesFence(x *trial) {
	stores := []once.Store{x.store, x.opt.Second(x.T, x.store)}
	k, last := x.key(), uint64(0)
	for n := range 8 {
		x.through(stores[n%2], func() {
			c := x.claimOn(k)
			rec := x.winsAnew(c)
			if rec.Fence <= last {
				x.Fatalf("claim %d of the key: fence is %d, want more than %d", n+1, rec.Fence, last)
			}
			last = rec.Fence
			x.releases(c)
		})
	}
}

func reopenKeeps(x *trial) {
	outcomes := x.outcomes()
	claims := make(map[string]once.Claim)
	fences := make(map[string]uint64)
	for what, out := range outcomes {
		c := x.newClaim()
		c.Key.ID += "\x00/ 🔑\xff"
		fences[what] = x.winsAnew(c).Fence
		x.completes(c, out, once.Forever)
		claims[what] = c
	}
	for range 2 {
		x.store = x.opt.Reopen(x.T, x.store)
		for what, out := range outcomes {
			c := claims[what]
			got := x.holds(c.Key, out)
			if got.Owner != c.Owner || got.Fingerprint != c.Fingerprint || got.Attempt != 1 ||
				got.Fence != fences[what] || got.Retention != once.Forever {
				x.Errorf("%s: the record is now %s", what, describe(got))
			}
			x.untouched(c.Key, func() {
				x.mismatches(x.elsewise(c))
				x.ok(x.store.Complete(x.ctx, c.Key, c.Owner, out, long), "repeated complete")
			})
		}
	}
}

func reopenClaims(x *trial) {
	flying, doubting := x.record(once.InFlight), x.record(once.InDoubt)
	taken := x.claimOn(doubting.Key)
	taken.Takeover = 2
	before := x.wins(taken)
	ending := x.newClaim()
	ending.Lease = x.opt.Lease
	x.winsAnew(ending)
	doubting = x.record(once.InDoubt)

	x.store = x.opt.Reopen(x.T, x.store)
	x.flies(flying.Key)
	x.untouched(flying.Key, func() { x.stands(x.claimOn(flying.Key)) })
	x.wins(flying) // repeated
	if got := x.wins(taken); got.Attempt != 2 || got.Fence != before.Fence {
		x.Errorf("the record that was taken over is now %s, want %s", describe(got), describe(before))
	}
	if got := x.load(doubting.Key); got.State != once.InDoubt || got.Owner != doubting.Owner {
		x.Errorf("the record in doubt is now %s", describe(got))
	}
	x.lapses(ending.Key, once.InDoubt)
	for _, c := range []once.Claim{flying, taken, ending, doubting} {
		out := x.outcome()
		x.completes(c, out, long)
		x.holds(c.Key, out)
	}
}

func reopenGone(x *trial) {
	released, removed, over := x.newClaim(), x.newClaim(), x.newClaim()
	fences := make(map[once.Key]uint64)
	for _, c := range []once.Claim{released, removed, over} {
		fences[c.Key] = x.winsAnew(c).Fence
	}
	x.releases(released)
	x.completes(removed, x.outcome(), 0)
	x.completes(over, x.outcome(), x.opt.Lease)
	x.lapses(over.Key, 0)
	x.store = x.opt.Reopen(x.T, x.store)
	for _, c := range []once.Claim{released, removed, over} {
		x.absent(c.Key)
		x.hasLost(c.Key, c.Owner)
		if got := x.winsAnew(x.claimOn(c.Key)).Fence; got <= fences[c.Key] {
			x.Errorf("claim after the store was opened again: fence is %d, want more than %d",
				got, fences[c.Key])
		}
	}
}

func clockSkew(x *trial) {
	for _, skew := range []time.Duration{3 * long, -3 * long} {
		wrong := x.opt.SkewedHandle(x.T, x.store, skew)
		for _, s := range x.standing() {
			var theirs once.Claim
			x.through(wrong, func() { theirs = x.record(s) })
			ours := x.record(s)
			x.seesAlike(theirs.Key, wrong)
			x.seesAlike(ours.Key, wrong)
			x.untouched(theirs.Key, func() { x.stands(x.claimOn(theirs.Key)) })
			x.through(wrong, func() {
				x.untouched(ours.Key, func() { x.stands(x.claimOn(ours.Key)) })
			})
		}
		c := x.newClaim()
		x.through(wrong, func() {
			x.winsAnew(c)
			done := during(func() { x.completes(c, x.outcome(), x.opt.Lease) })
			x.turns(c.Key, once.Done, 0, done, x.opt.Lease)
		})
		x.winsAnew(x.claimOn(c.Key))
	}
}

// seesAlike checks that both handles see the same, and as much time left.
func (x *trial) seesAlike(k once.Key, other once.Store) {
	x.Helper()
	here := x.look(k)
	var there sight
	x.through(other, func() { there = x.look(k) })
	x.same(here, there)
}
