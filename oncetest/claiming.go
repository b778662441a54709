package oncetest

import (
	"strings"
	"sync"
	"time"

	"github.com/oncehq/once"
)

var claiming = []property{
	{"Claim makes the caller the owner of an operation that is absent", claimAbsent, 0},
	{"Claim returns the standing record", claimStanding, leases},
	{"Claim returns the standing outcome", claimDone, 0},
	{"of many claims on an absent key exactly one must win", claimByMany, 0},
	{"repeating a claim with the same owner must change nothing", claimRepeated, leases},
	{"repeating a claim with the same owner must return the outcome when done", claimRepeatedDone, 0},
	{"an invalid claim is refused naming every problem", claimInvalid, 0},
	{"Fence grows with every claim of the key", fenceGrows, 0},
	{"Fence grows with every takeover", fenceGrowsByTakeover, leases},
}

func claimAbsent(x *trial) {
	c := x.newClaim()
	x.absent(c.Key)
	before := time.Now()
	rec := x.winsAnew(c)
	if rec.Lease <= 0 && !x.opt.Transactional || rec.Lease > c.Lease {
		x.Errorf("of a lease of %v, %v is left", c.Lease, rec.Lease)
	}
	// Two machines' clocks may differ; a day is no difference of clocks.
	if off := rec.Created.Sub(before).Abs(); off > 24*time.Hour {
		x.Errorf("Created is %v, which is %v from now", rec.Created, off)
	}
	if !rec.Outcome.Equal(once.Outcome{}) || rec.Retention != 0 {
		x.Error("a record that is in flight has an outcome or a retention")
	}
	x.releases(c)
}

func claimStanding(x *trial) {
	c := x.newClaim()
	won := x.winsAnew(c)
	x.untouched(c.Key, func() {
		late := x.claimOn(c.Key)
		late.Takeover, late.Lease, late.Forget = 100, 2*long, time.Nanosecond
		got := x.stands(late)
		if got.State != once.InFlight || got.Owner != c.Owner || got.Fence != won.Fence {
			x.Errorf("got the record %s, want that of the first claim", describe(got))
		}
	})
}

func claimDone(x *trial) {
	c, out := x.newClaim(), x.outcome()
	won := x.winsAnew(c)
	x.completes(c, out, long)
	x.untouched(c.Key, func() {
		late := x.claimOn(c.Key)
		late.Takeover = 100
		got := x.stands(late)
		if got.State != once.Done || !got.Outcome.Equal(out) {
			x.Errorf("got the record %s, want the outcome %s", describe(got), outline(out))
		}
		if got.Owner != c.Owner || got.Fence != won.Fence || got.Attempt != 1 {
			x.Errorf("got the record %s, want the one that was claimed", describe(got))
		}
		if got.Retention <= 0 || got.Retention > long {
			x.Errorf("of a retention of %v, %v is left", long, got.Retention)
		}
	})
}

// race makes the claims at the same time, on the stores in turn, and returns who won.
func (x *trial) race(claims []once.Claim, stores ...once.Store) (winners []once.Claim) {
	x.Helper()
	records, errs := make([]once.Record, len(claims)), make([]error, len(claims))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i, c := range claims {
		all.Go(func() {
			<-start
			records[i], errs[i] = stores[i%len(stores)].Claim(x.ctx, c)
		})
	}
	close(start)
	all.Wait()
	for i, c := range claims {
		if x.opt.Transactional && errs[i] != nil {
			x.fails(once.ErrInFlight, errs[i], "claim beside the owner's")
			continue
		}
		x.ok(errs[i], "claim beside others")
		if records[i].Won(c) {
			winners = append(winners, c)
		}
	}
	for i := range claims {
		if len(winners) == 1 && errs[i] == nil && records[i].Owner != winners[0].Owner {
			x.Errorf("a claim was shown the owner %v, but %v won", records[i].Owner, winners[0].Owner)
		}
	}
	return winners
}

// contend lets many callers claim one absent key, and checks that one of them wins.
func (x *trial) contend(stores ...once.Store) {
	x.Helper()
	k := x.key()
	claims := make([]once.Claim, x.opt.Claimants)
	for i := range claims {
		claims[i] = x.claimOn(k)
		claims[i].Takeover = 100
	}
	winners := x.race(claims, stores...)
	if len(winners) != 1 {
		x.Fatalf("%d of %d claims won, want 1", len(winners), len(claims))
	}
	out := x.outcome()
	x.completes(winners[0], out, long)
	x.holds(k, out)
}

func claimByMany(x *trial) {
	rounds := 8
	if x.opt.Transactional {
		rounds = 2 // in each the losers wait for a lock as long as they are let
	}
	for range rounds {
		x.contend(x.store)
	}
}

func claimRepeated(x *trial) {
	for _, s := range x.standing() {
		c := x.record(s)
		again := c
		again.Lease, again.Takeover, again.Forget = 3*long, 100, time.Nanosecond
		x.untouched(c.Key, func() {
			for range 3 {
				rec, err := x.store.Claim(x.ctx, again)
				x.ok(err, "repeated claim")
				if rec.State != s || rec.Owner != c.Owner || rec.Attempt != 1 {
					x.Fatalf("repeated claim: got the record %s, want it %v as it stands", describe(rec), s)
				}
			}
		})
	}
}

func claimRepeatedDone(x *trial) {
	c, out := x.newClaim(), x.outcome()
	x.winsAnew(c)
	x.completes(c, out, long)
	x.untouched(c.Key, func() {
		if got := x.stands(c); !got.Outcome.Equal(out) {
			x.Errorf("repeated claim: got the outcome %s, want %s", outline(got.Outcome), outline(out))
		}
	})
}

func claimInvalid(x *trial) {
	good := x.newClaim()
	spoil := []struct {
		names string // a word that the error has to contain
		spoil func(*once.Claim)
	}{
		{"scope", func(c *once.Claim) { c.Key.Scope = "" }},
		{"scope", func(c *once.Claim) { c.Key.Scope = strings.Repeat("s", once.MaxScope+1) }},
		{"id", func(c *once.Claim) { c.Key.ID = "" }},
		{"id", func(c *once.Claim) { c.Key.ID = strings.Repeat("i", once.MaxID+1) }},
		{"owner", func(c *once.Claim) { c.Owner = once.Owner{} }},
		{"lease", func(c *once.Claim) { c.Lease = 0 }},
		{"takeover", func(c *once.Claim) { c.Takeover = -1 }},
		{"forget", func(c *once.Claim) { c.Forget = -1 }},
	}
	all := good
	for _, bad := range spoil {
		c := good
		bad.spoil(&c)
		x.refuses(c, bad.names)
		if bad.names != "id" { // a key is told one of its problems at a time
			bad.spoil(&all)
		}
	}
	x.refuses(all, "scope", "owner", "lease", "takeover", "forget")
	x.absent(good.Key)
}

// refuses checks that the claim fails with an error that contains the words.
func (x *trial) refuses(c once.Claim, words ...string) {
	x.Helper()
	rec, err := x.store.Claim(x.ctx, c)
	if err == nil {
		x.Fatalf("a claim with a bad %s got the record %s, want an error", words, describe(rec))
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			x.Errorf("a claim with a bad %s got the error %q, which does not name %q", words, err, w)
		}
	}
}

func fenceGrows(x *trial) {
	k, last := x.key(), uint64(0)
	for round := range 6 {
		c := x.claimOn(k)
		rec := x.winsAnew(c)
		if rec.Fence <= last {
			x.Fatalf("claim %d of the key: fence is %d, want more than %d", round+1, rec.Fence, last)
		}
		last = rec.Fence
		switch round % 3 {
		case 0:
			x.ok(x.store.Release(x.ctx, k, c.Owner), "release by the owner")
		case 1:
			x.completes(c, x.outcome(), 0)
		case 2:
			x.completes(c, x.outcome(), x.opt.Lease)
			x.lapses(k, 0)
		}
	}
}

func fenceGrowsByTakeover(x *trial) {
	c := x.newClaim()
	last := x.winsAnew(c).Fence
	for n := range 4 {
		x.doubts(c)
		next := x.claimOn(c.Key)
		next.Takeover = n + 2
		rec := x.wins(next)
		if rec.Fence <= last {
			x.Fatalf("takeover %d: fence is %d, want more than %d", n+1, rec.Fence, last)
		}
		last, c = rec.Fence, next
	}
	x.ok(x.store.Release(x.ctx, c.Key, c.Owner), "release by the owner")
	if rec := x.winsAnew(x.claimOn(c.Key)); rec.Fence <= last {
		x.Fatalf("claim after a release: fence is %d, want more than %d", rec.Fence, last)
	}
}
