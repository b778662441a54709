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
	records map[uint64]*record // by hash of the key
	queue   queue              // those records that will be over, by when
	free    []*record          // removed, to be used again; at most maxFree
	peak    int                // the most records since the map was made
	fence   uint64             // the last one given out
	closed  bool

	// due is when the first of the queue is over, for those who do not hold the mutex.
	due atomic.Int64

	_ [24]byte // to whole cache lines: neighbours are used by other processors
}

const (
	maxFree = 64
	minPeak = 1024 // a map that never held more is not worth shrinking
)

// find returns the record of the key, or nil. A record that is over is removed instead.
func (sh *shard) find(s *Store, hash uint64, k once.Key, now instant) *record {
	r := sh.records[hash]
	for r != nil && r.key != k {
		r = r.next
	}
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
	if sh.records == nil {
		sh.records = make(map[uint64]*record)
	}
	var r *record
	if n := len(sh.free); n > 0 {
		r, sh.free = sh.free[n-1], sh.free[:n-1]
	} else {
		r = new(record)
	}
	r.key, r.hash, r.fingerprint = own(c.Key), hash, c.Fingerprint
	r.created = now
	r.next = sh.records[hash]
	sh.records[hash] = r
	sh.peak = max(sh.peak, len(sh.records))
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
	if first := sh.records[r.hash]; first != r {
		for first.next != r {
			first = first.next
		}
		first.next = r.next
	} else if r.next != nil {
		sh.records[r.hash] = r.next
	} else {
		delete(sh.records, r.hash)
	}
	sh.queue.remove(r)
	sh.publish()
	s.release(r.bytes())
	r.wake()
	*r = record{}
	if len(sh.free) < maxFree {
		sh.free = append(sh.free, r)
	}
	sh.shrink()
}

// shrink gives back the map's memory when few of its entries are left in use, since maps
// only grow. It touches the records of this shard only.
func (sh *shard) shrink() {
	if sh.peak <= minPeak || len(sh.records) > sh.peak/8 {
		return
	}
	records := make(map[uint64]*record, len(sh.records))
	for h, r := range sh.records {
		records[h] = r
	}
	sh.records, sh.peak = records, len(records)
	sh.queue.shrink()
}

// own returns a copy of the key in one piece of memory of its own: a key cut from a larger string
// must not keep that alive.
func own(k once.Key) once.Key {
	both := k.Scope + k.ID
	return once.Key{Scope: both[:len(k.Scope)], ID: both[len(k.Scope):]}
}
