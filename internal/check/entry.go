package check

import (
	"math"
	"time"

	"github.com/oncehq/once"
)

// An instant is a reading of the store's clock, in nanoseconds.
type instant int64

const never = instant(math.MaxInt64)

func (t instant) plus(d time.Duration) instant {
	if d > time.Duration(never-max(t, 0)) {
		return never
	}
	return t + instant(d)
}

func (t instant) until(end instant) time.Duration {
	if end == never {
		return once.Forever
	}
	return time.Duration(end - t)
}

// A phase is what a store has written down of an operation. That a lease or a retention is over
// is not written: it follows from the clock.
type phase uint8

const (
	absent phase = iota
	claimed
	done
)

// An outcome is a [once.Outcome] that can be compared with ==.
type outcome struct {
	failed    bool
	mediaType string
	data      string
}

func outcomeOf(o once.Outcome) outcome { return outcome{o.Failed, o.Type, string(o.Data)} }

func (o outcome) once() once.Outcome {
	return once.Outcome{Failed: o.failed, Type: o.mediaType, Data: []byte(o.data)}
}

// An entry is all that a store keeps of one operation. It is a value: it can be compared with ==,
// kept for later, and copied to try a verb on it that is never carried out.
type entry struct {
	phase       phase
	fingerprint once.Fingerprint
	owner       once.Owner
	outcome     outcome
	attempt     int
	fence       uint64
	ends        instant       // of the lease, or of the retention when done
	forget      time.Duration // Claim.Forget of the latest owner
	given       uint64        // the last fence given out, also when absent
}

func (e *entry) remove() { *e = entry{given: e.given} }

// over reports whether the record has gone by itself: a done one when its retention is over, and
// one in doubt when its owner allowed that it be forgotten.
func (e *entry) over(now instant) bool {
	switch e.phase {
	case done:
		return now >= e.ends
	case claimed:
		return e.forget > 0 && now >= e.ends.plus(e.forget)
	}
	return false
}

// state returns the state of the record, or zero if it is absent.
func (e *entry) state(now instant) once.State {
	switch {
	case e.phase == absent:
		return 0
	case e.phase == done:
		return once.Done
	case now >= e.ends:
		return once.InDoubt
	}
	return once.InFlight
}

// changes returns when time changes the record next.
func (e *entry) changes(now instant) instant {
	switch {
	case e.phase == absent:
		return never
	case now < e.ends:
		return e.ends
	case e.forget > 0:
		return e.ends.plus(e.forget)
	}
	return never
}

func (e *entry) record(now instant) once.Record {
	r := once.Record{
		Fingerprint: e.fingerprint,
		Owner:       e.owner,
		State:       e.state(now),
		Attempt:     e.attempt,
		Fence:       e.fence,
	}
	if e.phase == done {
		r.Outcome, r.Retention = e.outcome.once(), now.until(e.ends)
	} else {
		r.Lease = max(now.until(e.ends), 0) // not for how long it has been in doubt
	}
	return r
}
