package oncedisk

import (
	"errors"
	"sync"
)

// A replay fills the index from the segments, in any order: of all entries of a key the one with
// the largest stamp is its state.
type replay struct {
	store *Store

	mu     sync.Mutex
	claims []slot // that were put into the index
	gone   []slot // that must not stay in it
	latest instant
	stamp  uint64
}

// reach notes that the store's clock has been there.
func (r *replay) reach(at instant, stamp uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest, r.stamp = max(r.latest, at), max(r.stamp, stamp)
}

// load puts the entries of a hint into the index.
func (r *replay) load(seg *segment, h *hint) error {
	seg.end = h.end
	seg.sealed.Store(true)
	seg.hinted.Store(true)
	seg.held.Store(h.held)
	seg.until.Store(h.until)
	seg.tally.gone.Store(h.gone)
	seg.first.Store(h.first)
	for i, v := range h.expires {
		seg.expires[i].Store(v)
	}
	r.reach(h.latest, h.stamp)
	return h.each(func(found *ref) error { return r.put(seg, found, 0) })
}

// scan puts what it finds in the segment into the index.
func (r *replay) scan(seg *segment) (tail, error) {
	return r.store.scanRefs(seg, func(found ref, e *entry) error {
		r.reach(e.at, e.stamp)
		seg.shield(e)
		seg.refs = append(seg.refs, found)
		if found.kind() == refDone {
			seg.add(e, int64(found.size))
		}
		return r.put(seg, &found, e.claim)
	})
}

// A claimed is what has to be known of an open entry when its end entry comes.
type claimed struct {
	hash  uint64
	first uint64
	size  int64
}

// scanRefs scans a segment. It calls f with each entry that can be a key's state; an end entry
// comes as the done entry that it makes of its open entry, less what only that says.
func (s *Store) scanRefs(seg *segment, f func(r ref, e *entry) error) (tail, error) {
	return s.scanRefsPast(seg, nil, f)
}

// scanRefsPast is scanRefs, which goes on behind what is damaged if lost is not nil.
func (s *Store) scanRefsPast(
	seg *segment, lost func(*DamageError), f func(r ref, e *entry) error,
) (tail, error) {
	claims := make(map[int64]claimed) // by offset
	sc := &scanning{seg: seg, path: s.vol.Path(segmentName(seg.number)), lost: lost}
	return sc.run(func(offset int64, e *entry, size int64) error {
		var hash uint64
		switch e.kind {
		case kindEnd:
			c, ok := claims[e.claim]
			if !ok {
				return errOrphan
			}
			e.kind, e.first = kindDone, c.first
			hash, size = c.hash, size+c.size
		case kindOpen:
			hash = s.hashKey(e.key)
			claims[offset] = claimed{hash, e.first, size}
		default:
			hash = s.hashKey(e.key)
		}
		return f(e.ref(hash, seg, offset, size), e)
	})
}

// put puts one entry into the index, unless there is a later one of the same key. If the entry
// completes a claim in the same segment, that is at the offset claim.
func (r *replay) put(seg *segment, found *ref, claim int64) error {
	loc := locate(seg.number, found.offset())
	if found.kind() == refGone {
		loc |= goneBit
	}
	sh := r.store.shard(found.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if claim != 0 && sh.table.replace(found.hash, locate(seg.number, claim), loc) {
		return nil
	}
	var stack [4]location
	for _, other := range sh.table.find(found.hash, stack[:0]) {
		switch superseded, err := r.compare(other, loc); {
		case err != nil:
			return err
		case superseded == loc:
			return nil
		case superseded == other:
			sh.table.remove(found.hash, other)
		}
	}
	sh.table.insert(found.hash, loc)
	if found.kind() != refDone {
		r.remember(found.kind(), slot{found.hash, loc})
	}
	return nil
}

func (r *replay) remember(k uint32, s slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k == refGone {
		r.gone = append(r.gone, s)
	} else {
		r.claims = append(r.claims, s)
	}
}

// compare reads two entries of the same hash and returns which is superseded, or 0 if they are of
// different keys.
func (r *replay) compare(a, b location) (superseded location, err error) {
	ra, err := r.read(a)
	if err != nil {
		return 0, err
	}
	defer ra.free()
	rb, err := r.read(b)
	if err != nil {
		return 0, err
	}
	defer rb.free()
	if ra.key != rb.key {
		return 0, nil
	}
	superseded, loser := b, &rb
	if ra.before(&rb.entry, a, b) {
		superseded, loser = a, &ra
	}
	if seg := r.store.segments.get(superseded.segment()); loser.kind == kindDone && seg != nil {
		seg.add(&loser.entry, -loser.size)
	}
	return superseded, nil
}

// before reports whether e is superseded by other. Two with the same stamp say the same, unless
// one says that what was before is gone.
func (e *entry) before(other *entry, at, otherAt location) bool {
	if e.stamp != other.stamp {
		return e.stamp < other.stamp
	}
	if gone := e.kind == kindGone; gone != (other.kind == kindGone) {
		return gone
	}
	return at.segment() < otherAt.segment()
}

func (r *replay) read(loc location) (reading, error) {
	got, err := r.store.read(loc &^ goneBit)
	if err != nil && isDamage(err) {
		err = &DamageError{File: r.store.vol.Path(segmentName(loc.segment())),
			Offset: loc.offset(), Reason: err.Error()}
	}
	return got, err
}

// finish leaves in the index what is to stay in it, and counts the claims.
func (r *replay) finish() error {
	for _, g := range r.gone {
		r.store.shard(g.hash).table.remove(g.hash, g.loc)
	}
	var errs []error
	for _, c := range r.claims {
		if !r.store.shard(c.hash).table.has(c.hash, c.loc) {
			continue
		}
		got, err := r.read(c.loc)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if got.kind == kindOpen {
			r.store.segments.get(c.loc.segment()).add(&got.entry, got.size)
		}
		got.free()
	}
	return errors.Join(errs...)
}
