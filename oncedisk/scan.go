package oncedisk

import (
	"bytes"
	"errors"
	"io"
)

// A window reads a file from front to back in large pieces.
type window struct {
	f      io.ReaderAt
	size   int64 // of what is read
	offset int64 // of buf in the file
	buf    []byte
	space  []byte
}

const windowSize = 1 << 20

// at returns n bytes at the offset, or fewer at the end.
func (w *window) at(offset int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-offset))
	if n <= 0 {
		return nil, nil
	}
	if from := offset - w.offset; from >= 0 && from+int64(n) <= int64(len(w.buf)) {
		return w.buf[from : from+int64(n)], nil
	}
	if want := max(n, int(min(windowSize, w.size))); len(w.space) < want {
		w.space = make([]byte, want)
	}
	got, err := w.f.ReadAt(w.space[:min(int64(len(w.space)), w.size-offset)], offset)
	if err != nil && got < n && !errors.Is(err, io.EOF) {
		w.buf = nil
		return nil, err
	}
	w.offset, w.buf = offset, w.space[:got]
	return w.buf[:min(n, got)], nil
}

// entry decodes the entry at the offset. It is valid until the next call.
func (w *window) entry(salt uint64, offset int64) (entry, int, error) {
	b, err := w.at(offset, entryHeader)
	if err != nil {
		return entry{}, 0, err
	}
	if len(b) < entryHeader {
		return entry{}, 0, errBlank
	}
	size, _ := frame(b)
	if int64(size) > w.size-offset {
		return entry{}, 0, errShort
	}
	if b, err = w.at(offset, size); err != nil {
		return entry{}, 0, err
	}
	return decode(b, salt, offset)
}

// A tail is what a scan found behind the last entry.
type tail struct {
	end       int64 // of the entries
	lastBatch int64 // where the last batch starts; end if there is none
	sealed    bool
	confirmed bool    // a mark says that the last batch was acknowledged
	marked    instant // when it said so
	dirty     bool    // something follows: a batch that was not finished
}

// A scanning reads the entries of one segment.
type scanning struct {
	seg  *segment
	path string
	w    window
	tail tail

	// lost is told of each damaged stretch, behind which the scan then goes on. If it is nil,
	// the scan ends with the first.
	lost func(*DamageError)
}

// run calls f for each entry of the segment. Behind the last one there may be a batch that was
// being written when the process or the machine stopped; it was not acknowledged. But if a whole
// batch lies behind what makes no sense, that was acknowledged before the batch was begun, and is
// damaged now. The error is then a [*DamageError].
func (sc *scanning) run(f func(offset int64, e *entry, size int64) error) (tail, error) {
	size, err := sc.seg.f.Size()
	if err != nil {
		return tail{}, err
	}
	sc.w = window{f: sc.seg.f, size: min(size, MaxSegmentSize)}
	sc.tail = tail{end: segmentHeader, lastBatch: segmentHeader}
	for {
		e, n, err := sc.w.entry(sc.seg.salt, sc.tail.end)
		if err == nil {
			err = sc.one(&e, n, f)
		}
		if err == nil {
			if sc.tail.sealed {
				return sc.tail, nil
			}
			continue
		}
		if more, err := sc.stop(err); !more {
			return sc.tail, err
		}
	}
}

var (
	errEnd    = errors.New("a mark")
	errOrphan = errors.New("the claim that the entry completes is missing")
)

// one handles an entry of n bytes.
func (sc *scanning) one(e *entry, n int, f func(int64, *entry, int64) error) error {
	t, offset := &sc.tail, sc.tail.end
	b, err := sc.w.at(offset, entryHeader)
	if err != nil {
		return err
	}
	switch _, first := frame(b); {
	case e.kind == kindMark:
		t.marked = e.at
		return errEnd
	case first:
		t.lastBatch = offset
	}
	if e.kind == kindSeal {
		t.sealed = true
	} else if err := f(offset, e, int64(n)); err != nil {
		return err
	}
	t.end += int64(n)
	return nil
}

// stop handles the end of the entries, for the reason given. It reports whether there are more.
func (sc *scanning) stop(reason error) (more bool, err error) {
	t := &sc.tail
	unread := reason != errEnd && reason != errOrphan && !isDamage(reason)
	if unread && sc.lost == nil {
		return false, reason
	}
	next, from := t.end+8, t.end+8
	switch reason {
	case errEnd:
		t.confirmed = true
		reason, from = errBlank, t.end+markSize
	case errBlank, errOrphan:
	default:
		t.dirty = true
	}
	if reason != errOrphan { // which was whole when it was written
		found, batch, err := sc.next(from)
		if err != nil || !batch && !unread {
			return false, err
		}
		if next = found; !batch {
			next = sc.w.size // there is nothing more
		}
	}
	damage := &DamageError{File: sc.path, Offset: t.end, Reason: reason.Error()}
	if sc.lost == nil {
		return false, damage
	}
	sc.lost(damage)
	t.end, t.confirmed, t.dirty = next, false, false
	return true, nil
}

// next looks for entries from an offset on. It returns the offset of the first one, and whether
// one of them is the first of a batch.
func (sc *scanning) next(from int64) (entry int64, batch bool, err error) {
	w := &sc.w
	for offset := from; offset < w.size; {
		b, err := w.at(offset, page) // much less than a window, which would else be read anew each time
		if err != nil && sc.lost != nil {
			offset = (offset/page + 1) * page // the disk may be able to read what follows
			continue
		}
		if err != nil {
			return 0, false, err
		}
		if len(b) < entryHeader {
			sc.tail.dirty = sc.tail.dirty || !blank(b)
			return entry, false, nil
		}
		if blank(b) {
			offset += int64(len(b) &^ 7)
			continue
		}
		sc.tail.dirty = true
		for len(b) > entryHeader && blank(b[:entryHeader]) {
			offset, b = offset+entryHeader, b[entryHeader:]
		}
		if found, first := sc.entryAt(offset); found { // and b may be overwritten
			if entry == 0 {
				entry = offset
			}
			if first {
				return entry, true, nil
			}
		}
		offset += entryHeader
	}
	return entry, false, nil
}

// isDamage tells an entry that makes no sense from a failure to read it.
func isDamage(err error) bool {
	return err == errBlank || err == errShort || err == errChecksum || err == errBody
}

// entryAt reports whether an entry is at the offset, and whether it is the first of a batch.
func (sc *scanning) entryAt(offset int64) (found, first bool) {
	b, err := sc.w.at(offset, entryHeader+1)
	if err != nil || len(b) <= entryHeader {
		return false, false
	}
	size, first := frame(b)
	k := kind(b[entryHeader] & kindBits)
	limit := sc.w.size - offset
	if sc.seg.use == useLog {
		limit = min(limit, sc.seg.size/4+entryOverhead)
	}
	if k < kindOpen || k > kindSeal || int64(size) > limit || sc.lost == nil && !first {
		return false, false
	}
	_, _, err = sc.w.entry(sc.seg.salt, offset)
	return err == nil, first
}

func blank(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
