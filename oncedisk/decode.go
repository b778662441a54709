package oncedisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"time"
	"unsafe"

	"github.com/oncehq/once"
)

var (
	errBlank    = errors.New("there is no entry")
	errShort    = errors.New("the entry is cut off")
	errChecksum = errors.New("the checksum is wrong")
	errBody     = errors.New("the entry makes no sense")
)

// frame returns the size on disk of the entry that starts with these bytes, at least eight, and
// whether it says that it is the first of a batch. Nothing is checked.
func frame(b []byte) (size int, first bool) {
	length := binary.LittleEndian.Uint32(b)
	return padded(int(length &^ batchBit)), length&batchBit != 0
}

// decode reads the entry at the start of b, which lies at the offset of the segment with the
// salt, and returns how many bytes it takes. b must hold the whole entry; it may hold more.
func decode(b []byte, salt uint64, offset int64) (e entry, size int, err error) {
	if len(b) < entryHeader {
		return entry{}, 0, errShort
	}
	length := binary.LittleEndian.Uint32(b)
	sum := binary.LittleEndian.Uint32(b[4:])
	if length&^batchBit == 0 {
		if length == 0 && sum == 0 {
			return entry{}, 0, errBlank
		}
		return entry{}, 0, errChecksum
	}
	size = padded(int(length &^ batchBit))
	if size > len(b) {
		return entry{}, 0, errShort
	}
	if crc32.Checksum(b[entryHeader:size], castagnoli)^mix(salt, offset, length) != sum {
		return entry{}, 0, errChecksum
	}
	c := cursor{b: b[entryHeader : entryHeader+int(length&^batchBit)]}
	e.decode(&c)
	if c.failed {
		return entry{}, 0, errBody
	}
	return e, size, nil
}

func (e *entry) decode(c *cursor) {
	flags := c.u8()
	e.kind = kind(flags & kindBits)
	e.outcome.Failed = flags&flagFailed != 0
	switch e.kind {
	case kindOpen:
		e.decodeRecord(c, flags&flagFingerprint != 0)
		e.lease = c.duration()
		e.forget = c.duration()
	case kindDone:
		e.decodeRecord(c, flags&flagFingerprint != 0)
		e.decodeOutcome(c)
	case kindEnd:
		e.claim = int64(c.u32()) << 3
		e.at = instant(c.u64())
		e.stamp = uint64(e.at/1000) + uint64(c.signed())
		e.decodeOutcome(c)
	case kindGone:
		scope, id := c.u8(), c.u16()
		e.stamp = c.u64()
		e.first = c.varint()
		e.until = instant(c.varint())
		e.key = once.Key{Scope: c.text(int(scope)), ID: c.text(int(id))}
	case kindMark, kindSeal:
		e.at = instant(c.u64())
	default:
		c.failed = true
	}
	if len(c.b) != 0 {
		c.failed = true
	}
}

func (e *entry) decodeRecord(c *cursor, fingerprint bool) {
	scope, id := c.u8(), c.u16()
	e.created = instant(c.u64())
	copy(e.owner[:], c.take(len(e.owner)))
	e.at = e.created + instant(c.varint())
	e.stamp = uint64(e.at/1000) + uint64(c.signed())
	e.fence = e.stamp - c.varint()
	e.attempt = int(c.varint())
	e.first = c.varint()
	if fingerprint {
		copy(e.fingerprint[:], c.take(len(e.fingerprint)))
	}
	e.key = once.Key{Scope: c.text(int(scope)), ID: c.text(int(id))}
}

func (e *entry) decodeOutcome(c *cursor) {
	e.retention = c.duration()
	e.outcome.Type = c.text(int(c.u8()))
	e.outcome.Data, c.b = c.b, nil
}

// endWith makes e, an open entry, the whole of what it and its end entry say.
func (e *entry) endWith(end *entry) {
	e.kind, e.at, e.stamp = kindDone, end.at, end.stamp
	e.retention, e.outcome = end.retention, end.outcome
	e.lease, e.forget = 0, 0
}

// keep makes the entry independent of what it was decoded from. If k is its key, k is shared.
func (e *entry) keep(k once.Key) {
	if e.key == k {
		e.key = k
	} else {
		e.key = once.Key{Scope: strings.Clone(e.key.Scope), ID: strings.Clone(e.key.ID)}
	}
	e.outcome.Type = strings.Clone(e.outcome.Type)
	e.outcome.Data = bytes.Clone(e.outcome.Data)
}

// A cursor takes values off the front of b; after one was missing, failed is set and all are zero.
type cursor struct {
	b      []byte
	failed bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.b, c.failed = nil, true
		return nil
	}
	taken := c.b[:n:n]
	c.b = c.b[n:]
	return taken
}

// text is take as a string that shares the bytes.
func (c *cursor) text(n int) string {
	b := c.take(n)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (c *cursor) u8() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) varint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.failed = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) duration() time.Duration {
	v := c.varint()
	if v > math.MaxInt64 {
		c.b, c.failed = nil, true
		return 0
	}
	return time.Duration(v)
}

func (c *cursor) signed() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.b, c.failed = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}
