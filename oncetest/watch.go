package oncetest

import (
	"errors"
	"time"

	"github.com/oncehq/once"
)

// A sight is what was seen of an operation, and between which two moments it was so. The zero
// State means that it was absent. Whatever the scheduler does, the store looked at its clock
// between the two: so no verdict depends on how fast the test runs.
type sight struct {
	once.Record
	from, to time.Time
}

func (x *trial) look(k once.Key) sight {
	x.Helper()
	from := time.Now()
	rec, err := x.store.Load(x.ctx, k)
	to := time.Now()
	if errors.Is(err, once.ErrNotFound) {
		rec, err = once.Record{}, nil
	}
	x.ok(err, "load")
	return sight{rec, from, to}
}

// A span is when something happened: not before from, not after to.
type span struct{ from, to time.Time }

func during(verb func()) span {
	from := time.Now()
	verb()
	return span{from, time.Now()}
}

// turns checks that the operation goes from one state to the other d after the span, and neither
// earlier nor later.
func (x *trial) turns(k once.Key, before, after once.State, s span, d time.Duration) {
	x.Helper()
	earliest, latest := s.from.Add(d-x.opt.Slack), s.to.Add(d+x.opt.Slack)
	for {
		now := x.look(k)
		switch {
		case now.State == after && now.to.Before(earliest):
			x.Fatalf("%s at least %v early, of %v", name(after), earliest.Sub(now.to), d)
		case now.State == after:
			return
		case now.State != before:
			x.Fatalf("the operation is %s, want %s or %s", name(now.State), name(before), name(after))
		case now.from.After(latest):
			x.Fatalf("still %s at least %v late, of %v", name(before), now.from.Sub(latest), d)
		}
		step := max(x.opt.Slack/4, 1)
		if ahead := time.Until(earliest) - 1; ahead > step {
			step = min(ahead, max(d/8, step))
		}
		time.Sleep(step)
	}
}

// lapses waits until the operation is in the state, which is to be before long.
func (x *trial) lapses(k once.Key, want once.State) {
	x.Helper()
	deadline := time.Now().Add(20*x.opt.Lease + 30*time.Second)
	for now := x.look(k); now.State != want; now = x.look(k) {
		if now.from.After(deadline) {
			x.Fatalf("the operation is %s and does not become %s", name(now.State), name(want))
		}
		time.Sleep(x.opt.Lease / 10)
	}
}

// untouched checks that what happens in the story changes nothing about the operation.
func (x *trial) untouched(k once.Key, story func()) {
	x.Helper()
	before := x.look(k)
	if before.State == 0 {
		x.Fatal("the operation is absent, though nobody removed it")
	}
	story()
	x.same(before, x.look(k))
}

// same checks that the later sight shows the same record, less the time that passed.
func (x *trial) same(before, after sight) {
	x.Helper()
	a, b := before.Record, after.Record
	if a.State != b.State || a.Owner != b.Owner || a.Attempt != b.Attempt || a.Fence != b.Fence ||
		a.Fingerprint != b.Fingerprint || !a.Created.Equal(b.Created) || !a.Outcome.Equal(b.Outcome) {
		x.Fatalf("the record changed:\n from %s\n   to %s", describe(a), describe(b))
	}
	if a.State == once.InFlight {
		x.ran("lease", before, after, a.Lease, b.Lease)
	}
	if a.State == once.Done {
		x.ran("retention", before, after, a.Retention, b.Retention)
	}
}

// ran checks that what was left has become less by the time between the two sights.
func (x *trial) ran(what string, before, after sight, was, is time.Duration) {
	x.Helper()
	if was == once.Forever && is == once.Forever {
		return
	}
	most := was - max(0, after.from.Sub(before.to)) + x.opt.Slack
	least := was - after.to.Sub(before.from) - x.opt.Slack
	if is > most || is < least {
		x.Fatalf("the %s changed: %v were left and now %v are, want between %v and %v",
			what, was, is, least, most)
	}
}

// name says what an operation in the state is; the zero State stands for absent.
func name(s once.State) string {
	if s == 0 {
		return "absent"
	}
	return s.String()
}
