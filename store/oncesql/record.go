package oncesql

import (
	"time"

	"github.com/oncehq/once"
)

// A row is a row of the records, as it was when the engine's clock showed now.
type row struct {
	state       int
	attempt     int
	fence       int64
	owner       []byte
	fingerprint []byte
	failed      bool
	mediaType   []byte
	outcome     []byte
	created     int64
	leaseEnd    int64
	expires     int64
	now         int64
	began       int64 // when the statement had come that returned the row
}

// columns are where the columns of a statement's {seen} go.
func (r *row) columns() []any {
	return []any{&r.state, &r.attempt, &r.fence, &r.owner, &r.fingerprint, &r.failed,
		&r.mediaType, &r.outcome, &r.created, &r.leaseEnd, &r.expires, &r.now, &r.began}
}

// left returns how long after now the instant is, or Forever if there is no end, or none that a
// Duration could reach.
func (r *row) left(end int64) time.Duration {
	if us := end - r.now; us <= int64(once.Forever/time.Microsecond) {
		return time.Duration(us) * time.Microsecond
	}
	return once.Forever
}

// over reports whether the operation is absent although there is a row.
func (r *row) over() bool { return r.state == released || r.left(r.expires) <= 0 }

func (r *row) inDoubt() bool { return r.state == claimed && r.left(r.leaseEnd) <= 0 }

// young reports whether what the row says may not be on disk yet. A row that is done has the moment
// of that as the end of its lease, and the fence of a claim is no earlier than that.
func (r *row) young() bool {
	written := r.fence
	if r.state == done {
		written = r.leaseEnd
	}
	return time.Duration(r.now-written)*time.Microsecond < settling
}

func (r *row) ownedBy(o once.Owner) bool { return string(r.owner) == string(o[:]) }

func (r *row) matches(fp once.Fingerprint) bool {
	var standing once.Fingerprint
	copy(standing[:], r.fingerprint)
	return standing.Matches(fp)
}

// record returns the row in the contract's terms. It must not be over.
func (r *row) record(k once.Key) once.Record {
	rec := once.Record{
		Key:     k,
		Attempt: r.attempt,
		Fence:   uint64(r.fence),
		Created: time.UnixMicro(r.created),
	}
	copy(rec.Owner[:], r.owner)
	copy(rec.Fingerprint[:], r.fingerprint)
	switch {
	case r.state == done:
		rec.State = once.Done
		rec.Outcome = once.Outcome{Failed: r.failed, Type: string(r.mediaType), Data: r.outcome}
		rec.Retention = r.left(r.expires)
	case r.inDoubt():
		rec.State, rec.Lease = once.InDoubt, r.left(r.leaseEnd)
	default:
		rec.State, rec.Lease = once.InFlight, r.left(r.leaseEnd)
	}
	return rec
}

// micros returns d in microseconds, rounded up: a lease of a nanosecond is no lease of zero.
func micros(d time.Duration) int64 {
	if d == once.Forever {
		return forever
	}
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}

// forgetMicros returns Claim.Forget, of which zero is never.
func forgetMicros(d time.Duration) int64 {
	if d == 0 {
		d = once.Forever
	}
	return micros(d)
}

func fingerprintBytes(fp once.Fingerprint) []byte {
	if fp == (once.Fingerprint{}) {
		return nil
	}
	return fp[:]
}
