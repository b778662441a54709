package oncemem

import (
	"time"

	"github.com/oncehq/once"
)

// A record is what a shard keeps of one operation. It is guarded by the shard's mutex, and is used
// again for another operation after it was removed.
type record struct {
	key         once.Key
	hash        uint64
	next        *record // another record with the same hash, or nil
	fingerprint once.Fingerprint
	owner       once.Owner
	fence       uint64
	created     instant
	ends        instant       // when done: the retention; else: the lease
	forget      time.Duration // Claim.Forget of the latest owner
	waiting     chan struct{} // closed by wake; nil while nobody waits
	mediaType   string
	data        []byte
	attempt     int32
	place       int32 // in the shard's queue, from 1; 0: not queued
	done        bool
	failed      bool
}

// recordBytes is what a record costs beside the bytes of its key and outcome: itself, its entry
// in the map at the map's usual load, and its entry in the queue.
const recordBytes = 192 + 32 + 16

func (r *record) bytes() int64 { return keyBytes(r.key) + outcomeBytes(r.outcome()) }

func keyBytes(k once.Key) int64 { return recordBytes + int64(len(k.Scope)+len(k.ID)) }

func outcomeBytes(o once.Outcome) int64 { return int64(len(o.Type) + cap(o.Data)) }

func (r *record) state(now instant) once.State {
	switch {
	case r.done:
		return once.Done
	case now >= r.ends:
		return once.InDoubt
	}
	return once.InFlight
}

// due returns when the record is over: when the retention of a done record is, and when a record
// in doubt may be forgotten.
func (r *record) due() instant {
	switch {
	case r.done:
		return r.ends
	case r.forget > 0:
		return r.ends.plus(r.forget)
	}
	return never
}

func (r *record) over(now instant) bool { return now >= r.due() && r.due() != never }

func (r *record) outcome() once.Outcome {
	return once.Outcome{Failed: r.failed, Type: r.mediaType, Data: r.data}
}

// view returns the record as callers see it.
func (r *record) view(s *Store, now instant) once.Record {
	v := once.Record{
		Key:         r.key,
		Fingerprint: r.fingerprint,
		Owner:       r.owner,
		State:       r.state(now),
		Attempt:     int(r.attempt),
		Fence:       r.fence,
		Created:     s.wall(r.created),
	}
	if r.done {
		v.Outcome = r.outcome()
		v.Retention = now.until(r.ends)
	} else {
		v.Lease = now.until(r.ends)
	}
	return v
}

// wake ends the waits for the record: it is no longer in flight under the owner it had.
func (r *record) wake() {
	if r.waiting != nil {
		close(r.waiting)
		r.waiting = nil
	}
}
