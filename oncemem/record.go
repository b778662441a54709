package oncemem

import (
	"time"

	"github.com/oncehq/once"
)

// A record is what a shard keeps of one operation. It is guarded by the shard's mutex, and is used
// again for another operation after it was removed.
type record struct {
	text        []byte // scope and id of the key; its memory is used again with the record
	scope       int16  // how much of the text is the scope
	done        bool
	failed      bool
	attempt     int32
	hash        uint64 // of the key
	fingerprint once.Fingerprint
	owner       once.Owner
	fence       uint64
	created     instant
	ends        instant       // when done: the retention; else: the lease
	forget      time.Duration // Claim.Forget of the latest owner
	waiting     chan struct{} // closed by wake; nil while nobody waits
	mediaType   string
	data        []byte
	place       int // in the shard's queue, from 1; 0: not queued
}

// recordBytes is what a record costs beside the bytes of its key and outcome: itself, and its
// share of the table and of the queue when they are half full.
const recordBytes = 176 + 32 + 32

func (r *record) bytes() int64 { return recordBytes + int64(len(r.text)) + outcomeBytes(r.outcome()) }

func keyBytes(k once.Key) int64 { return recordBytes + int64(len(k.Scope)+len(k.ID)) }

func outcomeBytes(o once.Outcome) int64 { return int64(len(o.Type) + cap(o.Data)) }

// name gives the record its key: a copy, since a key cut from a larger string must not keep
// that alive.
func (r *record) name(k once.Key) {
	r.text = append(append(r.text[:0], k.Scope...), k.ID...)
	r.scope = int16(len(k.Scope))
}

// names reports whether k is the record's key.
func (r *record) names(k once.Key) bool {
	return string(r.text[:r.scope]) == k.Scope && string(r.text[r.scope:]) == k.ID
}

func (r *record) key() once.Key {
	both := string(r.text)
	return once.Key{Scope: both[:r.scope], ID: both[r.scope:]}
}

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

// view returns the record as callers see it, with k for its key, which it must equal.
func (r *record) view(s *Store, k once.Key, now instant) once.Record {
	v := once.Record{
		Key:         k,
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
