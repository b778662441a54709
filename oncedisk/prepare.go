package oncedisk

import (
	"errors"
	"time"
)

// zeroPiece is how many zeros are written between two flushes: small enough that a verb's flush
// that comes at the same time does not wait long for the disk.
const zeroPiece = 1 << 20

// prepareRetry is how long a disk that was full is left alone.
const prepareRetry = time.Second

// prepare makes segments before they are needed, so that no verb waits for one to be made. A file
// that is full of zeros takes an entry without a change to the file system's own records, which
// would cost a second write in each flush; and it takes it also when the disk is full by then.
func (s *Store) prepare() {
	for {
		select {
		case <-s.log.wanted:
		case <-s.closing:
			return
		}
		for {
			seg, err := s.makeSegment()
			if err == nil {
				s.log.extend(seg)
				break
			}
			if errors.Is(err, errStopped) || s.log.failed() != nil {
				return
			}
			if s.log.full.Load() == nil {
				s.complain("claims are refused, since the next segment cannot be made", err)
			}
			s.log.exhaust(err)
			if !s.pause(prepareRetry) {
				return
			}
		}
	}
}

var errStopped = errors.New("the store is being closed")

// makeSegment makes the next segment of the log, durable under its name.
func (s *Store) makeSegment() (*segment, error) {
	seg := &segment{
		number:  s.segments.number(),
		use:     useLog,
		created: s.clock.now(),
		stamp:   s.clock.last.Load(),
		size:    s.cfg.SegmentSize,
		end:     segmentHeader,
	}
	seg.salt = s.seed.salt(seg.number)
	name := segmentName(seg.number)
	err := s.fillTemp(seg, name+tempSuffix)
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

// fillTemp writes the segment's header and zeros.
func (s *Store) fillTemp(seg *segment, temp string) (err error) {
	if seg.f, err = s.vol.Create(temp); err != nil {
		return err
	}
	if _, err := seg.f.WriteAt(seg.header(), 0); err != nil {
		return err
	}
	piece := make([]byte, min(zeroPiece, seg.size))
	for at := int64(segmentHeader); at < seg.size; {
		n := min(int64(len(piece))-at%int64(len(piece)), seg.size-at)
		if _, err := seg.f.WriteAt(piece[:n], at); err != nil {
			return err
		}
		if err := seg.f.Sync(); err != nil {
			return err
		}
		at += n
		if s.stopping() {
			return errStopped
		}
	}
	return nil
}
