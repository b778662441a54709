package oncedisk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/oncehq/once"
)

// An idLog is the file to which the ids of a bucket are appended while it is young. After its
// header it has frames, in whole units of an id's size: a checksum, the number of ids, the number
// of the frame, and the ids. A frame is one commit; so at most the last one is unfinished.
//
// A frame of no ids is a mark: it says that the frame before was acknowledged, so that damage to
// the last frame can be told from one that was never finished. The next frame overwrites it.
type idLog struct {
	f    file
	path string
	salt uint64
	end  int64  // where the next frame goes
	size int64  // of the file; the rest is zeros
	seq  uint64 // number of the last frame
	last int64  // where replay found that
}

const (
	frameHeader = idSize
	frameCount  = 4
	frameSeq    = 8
)

// encodeFrame appends a frame for that place to b.
func (l *idLog) encodeFrame(b []byte, seq uint64, ids []id) []byte {
	start := len(b)
	b = append(b, make([]byte, frameHeader)...)
	binary.LittleEndian.PutUint32(b[start+frameCount:], uint32(len(ids)))
	binary.LittleEndian.PutUint64(b[start+frameSeq:], seq)
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	binary.LittleEndian.PutUint32(b[start:], l.sum(b[start:], l.end))
	return b
}

// sum is the checksum of a frame at that offset.
func (l *idLog) sum(frame []byte, offset int64) uint32 {
	return crc32.Checksum(frame[frameCount:], castagnoli) ^ mix(l.salt, offset, uint32(len(frame)))
}

// reserve makes the file long enough for a frame of so many ids and its mark, and for more. Frames
// are written to room that was allocated before, which also spares the file system a change of its
// own records in most flushes. So it is here that a disk is found to be full, where that does no
// harm: the file has got some more zeros, or has not.
func (l *idLog) reserve(ids int, more, step int64) error {
	need := l.frameEnd(ids) + frameHeader + more
	if need <= l.size {
		return nil
	}
	grown := (need + step - 1) / step * step
	piece := make([]byte, min(zeroPiece, grown-l.size))
	for l.size < grown {
		n := min(int64(len(piece)), grown-l.size)
		if _, err := l.f.WriteAt(piece[:n], l.size); err != nil {
			return err
		}
		l.size += n
	}
	return nil
}

// frameEnd returns where the next frame ends if it has so many ids.
func (l *idLog) frameEnd(ids int) int64 { return l.end + frameHeader + int64(ids)*idSize }

// commit makes a frame of the ids durable, for which there must be room. The buffer is used and
// returned.
func (l *idLog) commit(buf []byte, ids []id) ([]byte, error) {
	buf = l.encodeFrame(buf[:0], l.seq+1, ids)
	if _, err := l.f.WriteAt(buf, l.end); err != nil {
		return buf, err
	}
	if err := l.f.Sync(); err != nil {
		return buf, err
	}
	l.end, l.seq = l.end+int64(len(buf)), l.seq+1
	return buf, nil
}

// mark notes that the last frame was acknowledged. It need not survive a loss of power.
func (l *idLog) mark() error {
	if l.end+frameHeader > l.size {
		return nil
	}
	var stack [frameHeader]byte
	_, err := l.f.WriteAt(l.encodeFrame(stack[:0], l.seq, nil), l.end)
	return err
}

// An idFrame is what is found at a place of a log.
type idFrame struct {
	seq uint64
	ids []byte
}

// frameAt reads the frame at the offset, if there is one. It is valid until the next call.
func (l *idLog) frameAt(w *window, offset int64) (idFrame, bool, error) {
	b, err := w.at(offset, frameHeader)
	if err != nil || len(b) < frameHeader {
		return idFrame{}, false, err
	}
	n := binary.LittleEndian.Uint32(b[frameCount:])
	if n > maxIDGroup+once.MaxIDs {
		return idFrame{}, false, nil
	}
	length := frameHeader + int(n)*idSize
	b, err = w.at(offset, length)
	if err != nil || len(b) < length || binary.LittleEndian.Uint32(b) != l.sum(b, offset) {
		return idFrame{}, false, err
	}
	return idFrame{binary.LittleEndian.Uint64(b[frameSeq:]), b[frameHeader:]}, true, nil
}

// replay yields the ids of all frames, and finds the end. A frame that is not there although a
// later one or its mark is was damaged.
func (l *idLog) replay(yield func(id)) error {
	size, err := l.f.Size()
	if err != nil {
		return err
	}
	w := &window{f: l.f, size: size}
	l.size = size / idSize * idSize
	for l.end, l.last = idHeaderSize, idHeaderSize; ; {
		f, ok, err := l.frameAt(w, l.end)
		switch {
		case err != nil:
			return err
		case ok && len(f.ids) > 0 && f.seq == l.seq+1:
			for d := range slices.Chunk(f.ids, idSize) {
				yield(id(d))
			}
			l.seq = f.seq
			l.last = l.end
			l.end += frameHeader + int64(len(f.ids))
		case ok && len(f.ids) == 0 && f.seq == l.seq:
			return nil
		default:
			return l.checkTail(w)
		}
	}
}

// checkTail reports damage if anything that was acknowledged comes after the end.
func (l *idLog) checkTail(w *window) error {
	for at := l.end + idSize; at+frameHeader <= w.size; at += idSize {
		f, ok, err := l.frameAt(w, at)
		if err != nil {
			return err
		}
		if ok && f.seq > l.seq {
			return &DamageError{File: l.path, Offset: l.end,
				Reason: fmt.Sprintf("frame %d is damaged, and followed by one that is not", l.seq+1)}
		}
	}
	return nil
}

// mend makes durable what was read.
func (l *idLog) mend() error {
	if err := rewrite(l.f, l.last, l.end); err != nil {
		return err
	}
	return l.f.Sync()
}
