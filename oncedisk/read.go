package oncedisk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/oncehq/once"
)

// pages lends buffers for reading entries.
var pages = sync.Pool{New: func() any { return new([page]byte) }}

// errGone says that the segment of a location was deleted meanwhile.
var errGone = errors.New("the segment is gone")

// A reading is an entry and the buffers in which it lies.
type reading struct {
	entry
	size  int64 // on disk, with the open entry that an end entry completes
	lent  [2]*[page]byte
	count int
}

// free gives the buffers back; nothing of the entry may be used after it unless it was kept.
func (r *reading) free() {
	for _, p := range r.lent[:r.count] {
		pages.Put(p)
	}
	r.count = 0
}

// read reads the entry at the location, whole: the open entry of an end entry is read as well.
// The caller must free the reading if err is nil.
func (s *Store) read(loc location) (r reading, err error) {
	seg := s.segments.get(loc.segment())
	if seg == nil {
		return reading{}, errGone
	}
	if err := r.read(seg, loc.offset()); err != nil {
		r.free()
		if errors.Is(err, os.ErrClosed) {
			err = errGone
		}
		return reading{}, err
	}
	return r, nil
}

func (r *reading) read(seg *segment, offset int64) error {
	e, size, err := r.one(seg, offset)
	if err != nil {
		return err
	}
	r.entry, r.size = e, size
	if e.kind != kindEnd {
		return nil
	}
	claim, size, err := r.one(seg, e.claim)
	if err != nil {
		return err
	}
	if claim.kind != kindOpen {
		return errBody
	}
	claim.endWith(&e)
	r.entry = claim
	r.size += size
	return nil
}

// one reads one entry as it is.
func (r *reading) one(seg *segment, offset int64) (entry, int64, error) {
	if offset < segmentHeader || offset >= seg.size {
		return entry{}, 0, errBody
	}
	p := pages.Get().(*[page]byte)
	r.lent[r.count] = p
	r.count++
	n, err := seg.f.ReadAt(p[:], offset)
	if err != nil && n < entryHeader && !errors.Is(err, io.EOF) {
		return entry{}, 0, err // else only what follows cannot be read
	}
	b := p[:n]
	if n >= entryHeader {
		if size, _ := frame(b); size > n {
			if int64(size) > seg.size-offset {
				return entry{}, 0, errShort
			}
			b = make([]byte, size)
			if _, err := seg.f.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
				return entry{}, 0, err
			}
		}
	}
	e, size, err := decode(b, seg.salt, offset)
	return e, int64(size), err
}

// unreadable is the error of a record that cannot be read where the index says that it is.
func (s *Store) unreadable(loc location, err error) error {
	return fmt.Errorf("%w: %s at offset %d: %w", once.ErrUnreadable,
		s.vol.Path(segmentName(loc.segment())), loc.offset(), err)
}
