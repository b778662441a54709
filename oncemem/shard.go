package oncemem

import (
	"sync"
	"sync/atomic"

	"github.com/oncehq/once"
)

// A shard holds the records of the keys whose hash selects it. Each verb holds the mutex of
// one shard, and never of two.
type shard struct {
	mu      sync.Mutex
	records table
	queue   queue     // those records that will be over, by when
	free    []*record // removed, to be used again; at most maxFree
	fence   uint64    // the last one given out
	closed  bool

	// due is when the first of the queue is over, for those who do not hold the mutex.
	due atomic.Int64

	_ [16]byte // to whole cache lines: neighbours are used by other processors
}

// What removed records keep for the next is bounded: so many records, with as much memory for
// the text of a key.
const (
	maxFree     = 64
	maxFreeText = 128
)

// find returns the record of the key, or nil. A record that is over is removed instead.
func (sh *shard) find(s *Store, hash uint64, k once.Key, now instant) *record {
	r := sh.records.find(hash, k)
	if r != nil && r.over(now) {
		sh.remove(s, r)
		return nil
	}
	return r
}

// owned returns the record of the key if o owns it and it has no outcome, else nil.
func (sh *shard) owned(s *Store, hash uint64, k once.Key, o once.Owner, now instant) *record {
	r := sh.find(s, hash, k, now)
	if r == nil || r.owner != o || r.done {
		return nil
	}
	return r
}

// insert makes a record of the claim, for which there is room and no record.
func (sh *shard) insert(s *Store, hash uint64, c *once.Claim, now instant) *record {
	var r *record
	if n := len(sh.free); n > 0 {
		r, sh.free = sh.free[n-1], sh.free[:n-1]
	} else {
		r = new(record)
	}
	r.name(c.Key)
	r.hash, r.fingerprint, r.created = hash, c.Fingerprint, now
	sh.records.insert(hash, r)
	sh.assign(s, r, c, now)
	return r
}

// assign makes the claim's owner that of the record, for its next attempt.
func (sh *shard) assign(s *Store, r *record, c *once.Claim, now instant) {
	r.wake()
	r.owner, r.forget = c.Owner, c.Forget
	r.ends = now.plus(c.Lease)
	r.attempt++
	sh.fence = max(sh.fence+1, s.micros(now))
	r.fence = sh.fence
	sh.reschedule(r)
}

// remove makes the operation absent.
func (sh *shard) remove(s *Store, r *record) {
	sh.records.remove(r)
	sh.queue.remove(r)
	sh.publish()
	s.release(r.bytes())
	r.wake()
	if text := r.text[:0]; cap(text) <= maxFreeText {
		*r = record{text: text}
	} else {
		*r = record{}
	}
	if len(sh.free) < maxFree {
		sh.free = append(sh.free, r)
	}
}
