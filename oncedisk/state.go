package oncedisk

import (
	"time"

	"github.com/oncehq/once"
)

// state tells what the entry, open or done, says at this time.
func (e *entry) state(now instant) once.State {
	switch {
	case e.kind == kindDone:
		return once.Done
	case now.since(e.at) >= e.lease && e.lease != once.Forever:
		return once.InDoubt
	}
	return once.InFlight
}

// expiry returns when the record is over if nothing else happens to it.
func (e *entry) expiry() instant {
	switch {
	case (e.kind == kindDone || e.kind == kindEnd) && e.retention != once.Forever:
		return e.at.plus(e.retention)
	case e.kind == kindOpen && e.forget > 0 && e.forget != once.Forever && e.lease != once.Forever:
		return e.at.plus(e.lease).plus(e.forget)
	}
	return never
}

// over reports whether the record is absent by now, though it was not removed.
func (e *entry) over(now instant) bool { return e.expiry() != never && now >= e.expiry() }

// record returns the entry, open or done, as callers see it.
func (e *entry) record(now instant) once.Record {
	r := once.Record{
		Key:         e.key,
		Fingerprint: e.fingerprint,
		Owner:       e.owner,
		State:       e.state(now),
		Outcome:     e.outcome,
		Attempt:     e.attempt,
		Fence:       e.fence,
		Created:     time.Unix(0, int64(e.created)).UTC(),
	}
	if e.kind == kindDone {
		r.Retention = left(e.retention, now.since(e.at))
	} else {
		r.Lease = left(e.lease, now.since(e.at))
	}
	return r
}

// left returns what is left of a duration after so much of it has passed; Forever stays Forever.
func left(of, passed time.Duration) time.Duration {
	if of == once.Forever {
		return of
	}
	return of - passed
}
