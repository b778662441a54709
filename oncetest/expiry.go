package oncetest

import (
	"errors"
	"time"

	"github.com/oncehq/once"
)

var expiring = []property{
	{"the retention counts from completion", retentionEnds, 0},
	{"Claim makes the caller the owner when the retention is over", claimAfterRetention, 0},
	{"retention zero removes the record", retentionZero, 0},
	{"Forever is a retention that never ends", retentionForever, 0},
	{"a retention of any length is kept", retentionOfAnyLength, 0},
	{"a record in doubt is never forgotten when Forget is zero", doubtStays, leases},
	{"a record in doubt is not forgotten before Forget is over", doubtForgotten, leases},
	{"only the latest claim's Forget counts", doubtForgetLatest, leases},
}

func retentionEnds(x *trial) {
	c := x.newClaim()
	x.winsAnew(c)
	if x.opt.Bubble {
		time.Sleep(3 * x.opt.Lease) // none of it is part of the retention
	}
	done := during(func() { x.completes(c, x.outcome(), x.opt.Lease) })
	x.turns(c.Key, once.Done, 0, done, x.opt.Lease)
}

func claimAfterRetention(x *trial) {
	c := x.newClaim()
	x.winsAnew(c)
	x.completes(c, x.outcome(), x.opt.Lease)
	x.lapses(c.Key, 0)
	x.hasLost(c.Key, c.Owner)
	x.absent(c.Key)

	next := x.claimOn(c.Key)
	next.Fingerprint = once.FingerprintOf([]byte("something else"))
	x.winsAnew(next)
	out := x.outcome()
	x.completes(next, out, long)
	x.holds(c.Key, out)
}

func retentionZero(x *trial) {
	c := x.newClaim()
	x.winsAnew(c)
	x.completes(c, x.outcome(), 0)
	x.absent(c.Key)
	x.winsAnew(x.claimOn(c.Key))
}

func retentionForever(x *trial) {
	c, out := x.newClaim(), x.outcome()
	x.winsAnew(c)
	x.completes(c, out, once.Forever)
	x.age()
	if got := x.holds(c.Key, out).Retention; got != once.Forever {
		x.Errorf("of Forever %v is left, want Forever", got)
	}
}

// age lets as much time pass as a test can afford, and lets the store clean up.
func (x *trial) age() {
	x.Helper()
	if x.opt.Bubble {
		time.Sleep(20 * 365 * 24 * time.Hour)
	} else {
		time.Sleep(x.opt.Lease)
	}
	for range 20 {
		x.winsAnew(x.newClaim()) // some stores clean up when they are used
	}
	if s, ok := x.store.(once.Sweeper); ok {
		_, err := s.Sweep(x.ctx)
		x.ok(err, "sweep")
	}
}

func retentionOfAnyLength(x *trial) {
	for _, d := range []time.Duration{once.Forever - 1, 200 * 365 * 24 * time.Hour, 366 * 24 * time.Hour} {
		c, out := x.newClaim(), x.outcome()
		x.winsAnew(c)
		x.completes(c, out, d)
		got := x.holds(c.Key, out).Retention
		if got == once.Forever && d == once.Forever-1 {
			continue // its end may be beyond the store's calendar
		}
		if got <= 0 || got > d || got < d-long {
			x.Errorf("of a retention of %v %v is left", d, got)
		}
	}
}

func doubtStays(x *trial) {
	ended := x.record(once.InDoubt)
	lapsed := x.newClaim()
	lapsed.Lease = x.opt.Lease
	x.winsAnew(lapsed)
	x.lapses(lapsed.Key, once.InDoubt)
	x.age()
	for _, c := range []once.Claim{ended, lapsed} {
		if got := x.stands(x.claimOn(c.Key)); got.State != once.InDoubt || got.Owner != c.Owner {
			x.Fatalf("the record is %s, want it in doubt for ever", describe(got))
		}
		out := x.outcome()
		x.completes(c, out, long)
		x.holds(c.Key, out)
	}
}

func doubtForgotten(x *trial) {
	c := x.newClaim()
	c.Lease, c.Forget = x.opt.Lease, 2*x.opt.Lease
	claimed := during(func() { x.winsAnew(c) })
	forgettable := claimed.from.Add(c.Lease + c.Forget - x.opt.Slack)
	for {
		got := x.look(c.Key)
		if got.State == 0 && got.to.Before(forgettable) {
			x.Fatalf("the record was forgotten %v early", forgettable.Sub(got.to))
		}
		// A store that is as late as it may be has it in flight until then.
		if got.from.After(forgettable) && got.State != once.InFlight {
			break
		}
		time.Sleep(c.Lease / 4)
	}

	// From now on the record may be gone, or not yet. A claim sees one or the other.
	next := x.claimOn(c.Key)
	rec, err := x.store.Claim(x.ctx, next)
	x.ok(err, "claim")
	switch {
	case rec.Won(next) && rec.Attempt == 1:
		x.hasLost(c.Key, c.Owner)
	case rec.State == once.InDoubt && rec.Owner == c.Owner:
		// It may go at any moment, also before this.
		if err := x.store.Complete(x.ctx, c.Key, c.Owner, x.outcome(), long); !errors.Is(err, once.ErrLost) {
			x.ok(err, "complete by the owner")
		}
	default:
		x.Fatalf("got the record %s, want a new one or the one in doubt", describe(rec))
	}
}

func doubtForgetLatest(x *trial) {
	c := x.newClaim()
	c.Forget = x.opt.Lease
	x.winsAnew(c)
	x.doubts(c)
	next := x.claimOn(c.Key)
	next.Takeover = 2 // and Forget zero: from now on never
	rec, err := x.store.Claim(x.ctx, next)
	x.ok(err, "claim")
	if !rec.Won(next) {
		x.Fatalf("the claim did not win, but was shown %s", describe(rec))
	}
	x.doubts(next)
	x.age()
	x.age()
	if got := x.load(c.Key); got.State != once.InDoubt {
		x.Fatalf("the record is %s, want it in doubt for ever", describe(got))
	}
}
