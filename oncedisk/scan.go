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
	if want := max(n, windowSize); len(w.space) < want {
		w.space = make([]byte, want)
	}
	got, err := w.f.ReadAt(w.space[:min(int64(len(w.space)), w.size-offset)], offset)
	if err != nil && !errors.Is(err, io.EOF) {
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
	confirmed bool // a mark says that the last batch was acknowledged
	dirty     bool // something follows: a batch that was not finished
}

// scan calls f for each entry of the segment. Behind the last one there may be a batch that was
// being written when the process or the machine stopped; it was not acknowledged. But if a whole
// batch lies behind what makes no sense, that was acknowledged before the batch was begun, and is
// damaged now. The error is then a [*DamageError].
func scan(s *segment, path string, f func(offset int64, e *entry, size int64) error) (tail, error) {
	size, err := s.f.Size()
	if err != nil {
		return tail{}, err
	}
	w := &window{f: s.f, size: min(size, MaxSegmentSize)}
	t := tail{end: segmentHeader, lastBatch: segmentHeader}
	for {
		e, n, err := w.entry(s.salt, t.end)
		if err != nil {
			return t, finish(w, s, &t, path, err)
		}
		if b, _ := w.at(t.end, entryHeader); len(b) == entryHeader {
			if _, first := frame(b); first && e.kind != kindMark {
				t.lastBatch = t.end
			}
		}
		switch e.kind {
		case kindMark:
			t.confirmed = true
			return t, finish(w, s, &t, path, errBlank)
		case kindSeal:
			t.sealed = true
			t.end += int64(n)
			return t, nil
		}
		if err := f(t.end, &e, int64(n)); err != nil {
			if errors.Is(err, errBody) {
				err = &DamageError{File: path, Offset: t.end, Reason: errBody.Error()}
			}
			return t, err
		}
		t.end += int64(n)
	}
}

// finish looks at what is behind the last entry, where there was no other for the reason.
func finish(w *window, s *segment, t *tail, path string, reason error) error {
	if !isDamage(reason) {
		return reason
	}
	from := t.end
	if t.confirmed {
		from += markSize
	}
	for offset := from; offset < w.size; {
		b, err := w.at(offset, windowSize)
		if err != nil {
			return err
		}
		if len(b) < entryHeader {
			t.dirty = t.dirty || !blank(b)
			return nil
		}
		if blank(b) {
			offset += int64(len(b) &^ 7)
			continue
		}
		t.dirty = true
		if batchAt(w, s, offset) {
			return &DamageError{File: path, Offset: t.end, Reason: reason.Error()}
		}
		offset += 8
		for b = b[8:]; len(b) >= entryHeader && blank(b[:entryHeader]); b = b[8:] {
			offset += 8
		}
	}
	return nil
}

// isDamage tells an entry that makes no sense from a failure to read it.
func isDamage(err error) bool {
	return err == errBlank || err == errShort || err == errChecksum || err == errBody
}

// batchAt reports whether the first entry of a batch is at the offset.
func batchAt(w *window, s *segment, offset int64) bool {
	b, err := w.at(offset, entryHeader+1)
	if err != nil || len(b) <= entryHeader {
		return false
	}
	size, first := frame(b)
	k := kind(b[entryHeader] & kindBits)
	limit := w.size - offset
	if s.use == useLog {
		limit = min(limit, s.size/4+entryOverhead)
	}
	if !first || k < kindOpen || k > kindSeal || int64(size) > limit {
		return false
	}
	_, _, err = w.entry(s.salt, offset)
	return err == nil
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
