package oncedisk

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// checkNames refuses a directory with files in it that are not the store's: a mistyped path must
// not be written to.
func checkNames(v volume, names []string) error {
	for _, name := range names {
		base := strings.TrimSuffix(name, tempSuffix)
		_, isSegment := parseNumber(base, segmentSuffix)
		_, isHint := parseNumber(base, hintSuffix)
		if !isSegment && !isHint && base != recordFormat.file && base != lockName {
			return fmt.Errorf("oncedisk: %s is not the store's; give the store a directory of its own", v.Path(name))
		}
	}
	if !slices.Contains(names, recordFormat.file) {
		for _, name := range names {
			if _, isSegment := parseNumber(name, segmentSuffix); isSegment {
				return &DamageError{File: v.Path(recordFormat.file), Reason: "the file is missing"}
			}
		}
	}
	return nil
}

// recover brings back what was acknowledged, and makes the store ready for use.
func (s *Store) recover(from origin) error {
	list, err := s.openSegments(true)
	s.segments = newSegments(list)
	if err != nil {
		return err
	}
	if err := s.reserve(list); err != nil {
		return err
	}
	r := &replay{store: s, latest: from.latest, stamp: from.stamp}
	tails, err := r.run(list)
	if err != nil {
		return err
	}
	last, err := lastUsed(s.vol, list, tails)
	if err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	s.clock = newClock(r.latest, r.stamp)
	return s.start(list, tails, last)
}

// openSegments opens all segments by number. Leftovers of files that were being made are removed,
// if writable.
func (s *Store) openSegments(writable bool) (list []*segment, err error) {
	names, err := s.vol.Names()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		hint, isHint := parseNumber(name, hintSuffix)
		orphan := isHint && !slices.Contains(names, segmentName(hint))
		if writable && (orphan || strings.HasSuffix(name, tempSuffix)) {
			if err := s.vol.Remove(name); err != nil {
				return list, err
			}
		}
		number, isSegment := parseNumber(name, segmentSuffix)
		if !isSegment {
			continue
		}
		seg, err := openSegment(s.vol, number, s.seed, writable)
		if err != nil {
			return list, err
		}
		list = append(list, seg)
	}
	return list, nil
}

// reserve makes room in the index for what the hints have, so that it need not grow on the way.
func (s *Store) reserve(list []*segment) error {
	records := 0
	for _, seg := range list {
		f, err := s.vol.Open(hintName(seg.number), false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		records += int(max(0, min(size, MaxSegmentSize)-hintHeader) / hintRef)
	}
	if each := records / shardCount; each > fewHomes {
		for i := range s.shards {
			s.shards[i].table.reserve(each * 6 / 5)
		}
	}
	return nil
}

// replayers is how many segments are read at the same time.
const replayers = 4

// run replays all segments, and returns what is behind the last entry of each that was scanned.
func (r *replay) run(list []*segment) (map[*segment]tail, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	tails := make(map[*segment]tail)
	var errs []error
	work := make(chan *segment)
	for range replayers {
		all.Go(func() {
			for seg := range work {
				t, err := r.segment(seg)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				}
				tails[seg] = t
				mu.Unlock()
			}
		})
	}
	for _, seg := range list {
		r.reach(seg.created, seg.stamp)
		work <- seg
	}
	close(work)
	all.Wait()
	return tails, errors.Join(errs...)
}

// segment replays one segment, from its hint if it has one.
func (r *replay) segment(seg *segment) (tail, error) {
	h, err := readHint(r.store.vol, seg)
	if err != nil {
		return tail{}, err
	}
	if h != nil && r.fits(seg, h) {
		return tail{end: h.end, lastBatch: h.end, sealed: true, confirmed: true}, r.load(seg, h)
	}
	t, err := r.scan(seg)
	if err == nil && !t.sealed {
		err = whole(r.store.vol, seg)
	}
	if err != nil {
		return t, err
	}
	r.reach(t.marked, 0)
	seg.end = t.end
	seg.sealed.Store(t.sealed)
	return t, nil
}

// whole checks that nothing was cut off a segment that has no seal.
func whole(v volume, seg *segment) error {
	size, err := seg.f.Size()
	if err == nil && size < seg.size {
		err = &DamageError{File: v.Path(segmentName(seg.number)), Offset: size,
			Reason: fmt.Sprintf("the file was cut off; it had %d bytes", seg.size)}
	}
	return err
}

// fits reports whether the segment ends with a seal where the hint says so.
func (r *replay) fits(seg *segment, h *hint) bool {
	if h.end-sealSize < segmentHeader || h.end > seg.size {
		return false
	}
	var b [sealSize]byte
	if _, err := seg.f.ReadAt(b[:], h.end-sealSize); err != nil {
		return false
	}
	e, _, err := decode(b[:], seg.salt, h.end-sealSize)
	return err == nil && e.kind == kindSeal
}

// lastUsed returns the last segment of the log that was written to, or nil. Only that one may
// lack its seal: no other was begun before the seal of the one before was durable.
func lastUsed(v volume, list []*segment, tails map[*segment]tail) (*segment, error) {
	var last *segment
	for _, seg := range list {
		if t := tails[seg]; seg.use == useLog && (t.end > segmentHeader || t.dirty) {
			last = seg
		}
	}
	for _, seg := range list {
		if seg.use == useLog && last != nil && seg.number < last.number && !tails[seg].sealed {
			return nil, &DamageError{File: v.Path(segmentName(seg.number)), Offset: tails[seg].end,
				Reason: "the segment has no end, though later ones were begun"}
		}
	}
	return last, nil
}

// start decides where the log goes on, and makes the first segment if there is none.
func (s *Store) start(list []*segment, tails map[*segment]tail, last *segment) error {
	var free []*segment // of the log, in the order in which they are to be used
	for _, seg := range list {
		switch t := tails[seg]; {
		case t.sealed && seg == last:
			// The flush of its seal may have failed, and no later segment shows that it did not.
			if err := s.mend(seg, t); err != nil {
				return err
			}
		case t.sealed:
		case seg.use == useCarry:
			if err := s.sealCarried(seg, t); err != nil {
				return err
			}
		case last == nil || seg.number >= last.number:
			if err := s.mend(seg, t); err != nil {
				return err
			}
			free = append(free, seg)
		}
	}
	for len(free) > 2 {
		extra := free[len(free)-1]
		free = free[:len(free)-1]
		if err := s.discard(extra); err != nil {
			return err
		}
	}
	if len(free) == 0 {
		seg, err := s.makeSegment()
		if err != nil {
			return err
		}
		free = append(free, seg)
	}
	var ahead *segment
	if len(free) == 2 {
		ahead = free[1]
	}
	s.log = newLog(s.vol, s.clock, s.alarm, free[0], ahead)
	s.alarm.set(s.clock.now())
	return nil
}

// mend makes durable what was read of a segment, and clears what lies behind it.
func (s *Store) mend(seg *segment, t tail) error {
	if t.confirmed && !t.dirty {
		return nil
	}
	if err := rewrite(seg.f, t.lastBatch, t.end); err != nil {
		return err
	}
	if t.dirty {
		if err := clearFrom(seg, t.end); err != nil {
			return err
		}
	}
	return seg.f.Sync()
}

// rewrite writes again what is in a part of the file: that which was written last, and is to be flushed. If its
// flush had failed before, the kernel would show it and still not have it on the disk, and no flush
// alone would bring it there.
func rewrite(f file, from, to int64) error {
	b := make([]byte, to-from)
	if _, err := f.ReadAt(b, from); err != nil {
		return err
	}
	_, err := f.WriteAt(b, from)
	return err
}

// clearFrom writes zeros over what is not zero.
func clearFrom(seg *segment, from int64) error {
	b := make([]byte, min(windowSize, seg.size))
	for from < seg.size {
		n := min(int64(len(b))-from%int64(len(b)), seg.size-from)
		if _, err := seg.f.ReadAt(b[:n], from); err != nil {
			return err
		}
		if !blank(b[:n]) {
			clear(b[:n])
			if _, err := seg.f.WriteAt(b[:n], from); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}

// discard deletes a segment of which nothing is needed, durably.
func (s *Store) discard(seg *segment) error {
	err := s.vol.Remove(hintName(seg.number))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.vol.Remove(segmentName(seg.number)); err != nil {
		return err
	}
	if err := s.vol.Sync(); err != nil {
		return s.fail(err)
	}
	s.segments.remove(seg)
	return seg.f.Close()
}
