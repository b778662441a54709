package oncepg

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/oncehq/once"
)

// A row is a row of the records, as it was when the server's clock showed now.
type row struct {
	state       int16
	attempt     int32
	fence       int64
	owner       pgtype.UUID
	fingerprint []byte
	failed      bool
	mediaType   []byte
	outcome     []byte
	created     time.Time
	leaseEnd    pgtype.Timestamptz
	expires     pgtype.Timestamptz
	now         time.Time

	fresh pgtype.Bool // true: the statement has made the row; see claim
}

// columns are where the columns of a statement's {seen} go.
func (r *row) columns() []any {
	return []any{&r.state, &r.attempt, &r.fence, &r.owner, &r.fingerprint, &r.failed,
		&r.mediaType, &r.outcome, &r.created, &r.leaseEnd, &r.expires, &r.now}
}

// left returns how long after now the instant is, or Forever if there is no end.
func (r *row) left(end pgtype.Timestamptz) time.Duration {
	if end.InfinityModifier == pgtype.Infinity {
		return once.Forever
	}
	return end.Time.Sub(r.now)
}

// over reports whether the operation is absent although there is a row.
func (r *row) over() bool { return r.state == released || r.left(r.expires) <= 0 }

func (r *row) inDoubt() bool { return r.state == claimed && r.left(r.leaseEnd) <= 0 }

func (r *row) matches(fp once.Fingerprint) bool {
	var standing once.Fingerprint
	copy(standing[:], r.fingerprint)
	return standing.Matches(fp)
}

// record returns the row in the contract's terms. It must not be over.
func (r *row) record(k once.Key) once.Record {
	rec := once.Record{
		Key:     k,
		Owner:   r.owner.Bytes,
		Attempt: int(r.attempt),
		Fence:   uint64(r.fence),
		Created: r.created,
	}
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

func fingerprintBytes(fp once.Fingerprint) []byte {
	if fp == (once.Fingerprint{}) {
		return nil
	}
	return fp[:]
}

func ownerUUID(o once.Owner) pgtype.UUID { return pgtype.UUID{Bytes: o, Valid: true} }

// interval returns d in the server's unit, microseconds, rounded up: a lease of a nanosecond is
// no lease of zero. Forever is NULL, without end.
func interval(d time.Duration) pgtype.Interval {
	if d == once.Forever {
		return pgtype.Interval{}
	}
	us := d / time.Microsecond
	if d%time.Microsecond > 0 {
		us++
	}
	return pgtype.Interval{Microseconds: int64(us), Valid: true}
}

// forgetInterval returns Claim.Forget, of which zero is never.
func forgetInterval(d time.Duration) pgtype.Interval {
	if d == 0 {
		d = once.Forever
	}
	return interval(d)
}
