package oncedisk

import (
	"context"
	"errors"
	"time"
)

const (
	// sweepPause is the least time between two sweeps.
	sweepPause = 100 * time.Millisecond

	// A sweep that failed is put off for sweepRetry, each time twice as long as the last, up to
	// sweepRetryMost.
	sweepRetry     = time.Second
	sweepRetryMost = 5 * time.Minute

	// turnAfter is how much has to be in the active segment before it is given up because most
	// of it is dead.
	turnAfter = 1 << 20
)

// sweepAlways sweeps when there is something to be swept.
func (s *Store) sweepAlways() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := sweepRetry
	for {
		var rings <-chan time.Time
		if at := s.alarm.when(); at != never {
			timer.Reset(max(0, at.since(s.clock.now())))
			rings = timer.C
		}
		select {
		case <-s.closing:
			return
		case <-s.alarm.changed:
			continue
		case <-rings:
		}
		_, err := s.sweep(context.Background(), false)
		switch {
		case err == nil:
			retry = sweepRetry
		case s.stopping() || s.log.failed() != nil:
			return
		default:
			s.complain("expiry failed and will be tried again", err)
			s.alarm.clear()
			s.alarm.set(s.clock.now().plus(retry))
			retry = min(2*retry, sweepRetryMost)
		}
		if !s.pause(sweepPause) {
			return
		}
	}
}

// Sweep implements [once.Sweeper]. The store sweeps by itself; by then it may be that nothing is
// left for Sweep to do. Sweep takes out of the index also the records that are over in segments of
// which most is alive.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	return s.sweep(ctx, true)
}

// sweep deletes the segments in which nothing is alive, and empties those in which little is.
// It never stops a verb: it takes the lock of one shard at a time, for one record.
//
// It comes to rest: a segment is emptied only if at least half of it is dead, and what is carried
// forward takes no more room than it did, so that each time the store gets smaller.
func (s *Store) sweep(ctx context.Context, thorough bool) (removed int, err error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.alarm.clear()
	defer func() {
		if err != nil { // something is left to be done, whoever broke it off
			s.alarm.set(s.clock.now().plus(sweepRetry))
		}
	}()
	var errs []error
	for _, seg := range s.segments.list() {
		if err := s.usable(ctx); err != nil {
			return removed, err
		}
		// On a full disk some segments cannot be emptied, but others can be deleted.
		n, err := s.sweepSegment(ctx, seg, thorough)
		removed += n
		errs = append(errs, err)
	}
	errs = append(errs, s.sealOldCarriers())
	for i := range s.shards {
		s.shards[i].tidy()
	}
	s.rewind()
	return removed, errors.Join(errs...)
}

func (s *Store) sweepSegment(ctx context.Context, seg *segment, thorough bool) (int, error) {
	now := s.clock.now()
	switch {
	case !seg.sealed.Load():
		if s.log.worthTurning(seg, now) {
			s.log.rotate(seg)
			s.alarm.set(now.plus(sweepPause))
		}
	case seg.pending.Load() > 0:
		s.alarm.set(now.plus(sweepPause))
		return 0, nil
	case seg.dead(now):
		return s.drop(ctx, seg)
	case seg.wasted(now):
		return s.evacuate(ctx, seg)
	case !seg.hinted.Load() && now.since(seg.sealedAt) >= hintDelay:
		if err := s.writeHint(seg); err != nil {
			return 0, err
		}
	case !seg.hinted.Load():
		s.alarm.set(seg.sealedAt.plus(hintDelay))
	}
	if thorough {
		return s.purge(seg, now)
	}
	return 0, nil
}

// wasted reports whether at least half of a sealed segment is dead.
func (s *segment) wasted(now instant) bool {
	return 2*s.alive(now) <= s.end-segmentHeader
}

// worthTurning reports whether the segment is the active one, and should not be for longer.
func (l *log) worthTurning(s *segment, now instant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	used := s.end - segmentHeader
	return s == l.active && used >= min(turnAfter, s.size/4) && 2*s.alive(now) <= used
}

// rewind sets the alarm to when there will be something to do.
func (s *Store) rewind() {
	now := s.clock.now()
	for _, seg := range s.segments.list() {
		s.alarm.set(seg.due(now))
	}
}

// tidy gives back memory.
func (sh *shard) tidy() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.table.shrink()
}

// drop deletes a sealed segment in which nothing is alive.
func (s *Store) drop(ctx context.Context, seg *segment) (removed int, err error) {
	if err := s.bequeath(ctx, seg); err != nil {
		return 0, err
	}
	err = s.eachRef(seg, func(r *ref) error {
		if s.bury(seg, r) {
			removed++
		}
		return nil
	})
	if err != nil {
		return removed, err
	}
	return removed, s.discard(seg)
}

// bury takes the ref's entry, which is over, out of the index, and reports whether it was there.
func (s *Store) bury(seg *segment, r *ref) bool {
	loc := locate(seg.number, r.offset())
	sh := s.shard(r.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.table.remove(r.hash, loc) {
		return true
	}
	for c := sh.cells[r.hash]; c != nil; c = c.next {
		if c.loc == loc && c.kind == kindOpen && !c.busy {
			c.kind = 0
			sh.rest(c)
			return true
		}
	}
	return false
}

// purge takes what is over out of the index, where the segment stays.
func (s *Store) purge(seg *segment, now instant) (removed int, err error) {
	refs, err := s.refsWithExpiry(seg, now)
	for i := range refs {
		if r := &refs[i]; r.kind() != refGone && r.expiry != never && r.expiry <= now && s.bury(seg, r) {
			removed++
		}
	}
	return removed, err
}

// refsWithExpiry returns the refs of the segment's entries, if some may be over.
func (s *Store) refsWithExpiry(seg *segment, now instant) ([]ref, error) {
	if refs := s.log.refs(seg); refs != nil {
		return refs, nil
	}
	if !seg.sealed.Load() || seg.due(seg.created) > now {
		return nil, nil
	}
	var found []ref
	_, err := s.scanRefs(seg, func(r ref, _ *entry) error {
		found = append(found, r)
		return nil
	})
	return found, err
}

// refs returns what is in memory of the segment's entries.
func (l *log) refs(seg *segment) []ref {
	l.mu.Lock()
	defer l.mu.Unlock()
	return seg.refs[:len(seg.refs):len(seg.refs)]
}
