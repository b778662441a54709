package oncedisk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
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

// commit makes a frame of the ids durable. The buffer is used and returned.
func (l *idLog) commit(buf []byte, ids []id, step int64) ([]byte, error) {
	buf = l.encodeFrame(buf[:0], l.seq+1, ids)
	end := l.end + int64(len(buf))
	if end > l.size {
		// Zeros beyond the frame spare the file system a change of its own records in most flushes.
		grown := (end + step - 1) / step * step
		frame := len(buf)
		buf = append(buf, make([]byte, grown-end)...)
		if _, err := l.f.WriteAt(buf, l.end); err != nil {
			return buf, err
		}
		l.size, buf = grown, buf[:frame]
	} else if _, err := l.f.WriteAt(buf, l.end); err != nil {
		return buf, err
	}
	if err := l.f.Sync(); err != nil {
		return buf, err
	}
	l.end, l.seq = end, l.seq+1
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

// frameAt reads the frame at the offset of the log's content, if there is one.
func (l *idLog) frameAt(content []byte, offset int64) (idFrame, bool) {
	b := content[offset:]
	if len(b) < frameHeader {
		return idFrame{}, false
	}
	n := int64(binary.LittleEndian.Uint32(b[frameCount:]))
	length := frameHeader + n*idSize
	if length > int64(len(b)) || binary.LittleEndian.Uint32(b) != l.sum(b[:length], offset) {
		return idFrame{}, false
	}
	return idFrame{binary.LittleEndian.Uint64(b[frameSeq:]), b[frameHeader:length]}, true
}

// replay yields the ids of all frames, and finds the end. A frame that is not there although a
// later one or its mark is was damaged.
func (l *idLog) replay(yield func(id)) error {
	size, err := l.f.Size()
	if err != nil {
		return err
	}
	content := make([]byte, size)
	if _, err := l.f.ReadAt(content, 0); err != nil && err != io.EOF {
		return err
	}
	l.size = size / idSize * idSize
	for l.end = idHeaderSize; ; {
		f, ok := l.frameAt(content, min(l.end, size))
		switch {
		case ok && len(f.ids) > 0 && f.seq == l.seq+1:
			for d := range slices.Chunk(f.ids, idSize) {
				yield(id(d))
			}
			l.seq = f.seq
			l.end += frameHeader + int64(len(f.ids))
			continue
		case ok && len(f.ids) == 0 && f.seq == l.seq:
			return nil
		}
		return l.checkTail(content)
	}
}

// checkTail reports damage if anything that was acknowledged comes after the end.
func (l *idLog) checkTail(content []byte) error {
	for at := l.end + idSize; at+frameHeader <= int64(len(content)); at += idSize {
		if f, ok := l.frameAt(content, at); ok && f.seq > l.seq {
			return &DamageError{File: l.path, Offset: l.end,
				Reason: fmt.Sprintf("frame %d is damaged, and followed by one that is not", l.seq+1)}
		}
	}
	return nil
}
