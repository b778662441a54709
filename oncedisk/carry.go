package oncedisk

import (
	"errors"
	"io/fs"
	"math/bits"
	"time"
)

// A bucket is a span of time in which records expire that are kept in one segment: as long as an
// eighth to a quarter of what was left of their retention when they were carried, and at least a
// minute.
type bucket struct {
	width instant
	index instant
}

// forever is the bucket of what does not expire.
var forever = bucket{}

func bucketOf(expiry, now instant) bucket {
	if expiry == never {
		return forever
	}
	minutes := uint64(max(expiry-now, 0)) / uint64(8*time.Minute)
	width := instant(time.Minute) << bits.Len64(minutes)
	return bucket{width, expiry / width}
}

// past reports whether no further record belongs into the bucket.
func (b bucket) past(now instant) bool { return b != forever && (b.index+1)*b.width <= now }

// A carrier writes a carried segment. Nothing is in the index of what was not flushed.
type carrier struct {
	seg    *segment
	buf    []byte
	offset int64 // where buf goes
	safe   int64 // end of what was flushed
	refs   int   // of what was flushed
}

const carrierBuffer = 1 << 20

// carryTo writes the done record to the segment of its bucket, and says where it is.
func (s *Store) carryTo(e *entry, hash uint64) (location, int64, error) {
	b := bucketOf(e.expiry(), s.clock.now())
	encoded := e.encode(nil)
	c := s.carry[b]
	if c != nil && c.seg.end+int64(len(encoded))+sealSize+markSize > c.seg.size {
		if err := s.sealCarrier(b, c); err != nil {
			return 0, 0, err
		}
		c = nil
	}
	if c == nil {
		seg, err := s.makeCarried(int64(len(encoded)))
		if err != nil {
			return 0, 0, err
		}
		c = &carrier{seg: seg, offset: seg.end, safe: seg.end}
		s.carry[b] = c
	}
	offset := c.seg.end
	place(encoded, c.seg.salt, offset, offset == c.safe) // a batch is what is flushed at once
	c.buf = append(c.buf, encoded...)
	c.seg.end += int64(len(encoded))
	size := int64(len(encoded))
	c.seg.refs = append(c.seg.refs, e.ref(hash, c.seg, offset, size))
	if int64(len(c.buf)) >= min(carrierBuffer, c.seg.size/8) {
		if err := c.write(); err != nil {
			return 0, 0, err
		}
	}
	return locate(c.seg.number, offset), size, nil
}

// makeCarried makes a carried segment, of its full size but without taking up the room. It takes
// the entry for which it is made also if that is from a time when segments were larger.
func (s *Store) makeCarried(entry int64) (*segment, error) {
	size := min((4*entry+page-1)/page*page, MaxSegmentSize)
	seg := &segment{
		number: s.segments.number(), use: useCarry, created: s.clock.now(),
		stamp: s.clock.last.Load(), size: max(size, s.cfg.SegmentSize), end: segmentHeader,
	}
	seg.salt = s.seed.salt(seg.number)
	name := segmentName(seg.number)
	err := writeTemp(s.vol, name, seg.header())
	if err == nil {
		seg.f, err = s.vol.Open(name+tempSuffix, true)
	}
	if err == nil {
		err = seg.f.Truncate(seg.size)
	}
	if err == nil {
		err = seg.f.Sync()
	}
	if err == nil {
		err = s.vol.Rename(name+tempSuffix, name)
	}
	if err == nil {
		err = s.vol.Sync()
	}
	if err != nil {
		return nil, s.unmake(seg, err)
	}
	s.segments.add(seg)
	return seg, nil
}

// unmake removes what there is of a segment that could not be made.
func (s *Store) unmake(seg *segment, err error) error {
	if seg.f != nil {
		err = errors.Join(err, seg.f.Close())
	}
	for _, name := range []string{segmentName(seg.number) + tempSuffix, segmentName(seg.number)} {
		if gone := s.vol.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// write hands the buffer to the kernel, and with it the room for what will end it: the disk may
// be full when the mark or the seal is written, and they must not fail. If write does, what was not
// flushed is forgotten: nothing depends on it yet, and a disk that is full may have room later.
func (c *carrier) write() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.seg.f.WriteAt(append(c.buf, zeros[:max(markSize, sealSize)]...), c.offset)
	if err != nil {
		c.seg.end, c.seg.refs = c.safe, c.seg.refs[:c.refs]
	}
	c.buf, c.offset = c.buf[:0], c.seg.end
	return err
}

// flushCarriers makes durable what was carried, and then that it is.
func (s *Store) flushCarriers() error {
	if err := s.log.failed(); err != nil {
		return err // a flush that failed must not be repeated
	}
	for _, c := range s.carry {
		if c.safe == c.seg.end {
			continue
		}
		if err := c.write(); err != nil {
			return err
		}
		if err := s.flushCarrier(c); err != nil {
			return s.log.fail(err)
		}
	}
	return nil
}

// flushCarrier ends with a mark: a batch before it that makes no sense is damaged, while one
// without a mark behind it was not finished, and is still where it came from.
func (s *Store) flushCarrier(c *carrier) error {
	if err := c.seg.f.Sync(); err != nil {
		return err
	}
	if err := c.seg.mark(c.seg.end, s.clock.now()); err != nil {
		return err
	}
	c.safe, c.refs = c.seg.end, len(c.seg.refs)
	return c.seg.f.Sync()
}

// sealOldCarriers seals the segments that no further record belongs into.
func (s *Store) sealOldCarriers() error {
	now := s.clock.now()
	for b, c := range s.carry {
		if b.past(now) {
			if err := s.sealCarrier(b, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) sealCarrier(b bucket, c *carrier) error {
	if err := c.write(); err != nil {
		return err
	}
	delete(s.carry, b)
	return s.sealAt(c.seg, c.seg.end == c.safe)
}

// sealCarried seals a carried segment that was found without a seal.
func (s *Store) sealCarried(seg *segment, t tail) error {
	if err := s.mend(seg, t); err != nil {
		return err
	}
	return s.sealAt(seg, true)
}

// sealAt writes the seal entry to a carried segment and flushes it, with all that comes before it.
// alone says that nothing else is to be flushed, so that the seal is a batch of its own.
func (s *Store) sealAt(seg *segment, alone bool) error {
	seal := (&entry{kind: kindSeal, at: s.clock.now()}).encode(nil)
	place(seal, seg.salt, seg.end, alone)
	_, err := seg.f.WriteAt(seal, seg.end)
	if err == nil {
		err = seg.f.Sync()
	}
	if err != nil {
		return s.fail(err)
	}
	seg.end += sealSize
	seg.sealed.Store(true)
	return nil
}

// leave writes what makes the next opening fast, and what time it is.
func (s *Store) leave() error {
	for b, c := range s.carry {
		if err := s.sealCarrier(b, c); err != nil {
			return err
		}
	}
	for _, seg := range s.segments.list() {
		// Where a verb has not yet brought the index up to date, a hint would leave out what is
		// durable; opening scans that segment.
		if seg.sealed.Load() && !seg.hinted.Load() && seg.pending.Load() == 0 {
			if err := s.writeHint(seg); err != nil {
				return err
			}
		}
	}
	active := s.log.active
	if err := active.mark(active.end, s.clock.now()); err != nil {
		return err
	}
	return active.f.Sync()
}
