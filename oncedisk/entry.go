package oncedisk

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/oncehq/once"
)

// A segment is a header and entries, one behind the other, each padded to eight bytes:
//
//	u32  length of the body; the top bit is set on the first entry of a batch
//	u32  CRC-32C of the body, mixed with the segment's salt, the offset and the length
//	     body: kind and flags (u8), then what the kind says
//
// All integers are little endian; v is an unsigned and z a signed (zigzag) varint; times are
// instants in nanoseconds. The bodies are
//
//	open  len(scope) u8, len(id) u16, created u64, owner [16], at-created v, stamp-at/1000 z,
//	      stamp-fence v, attempt v, first v, [fingerprint], scope, id, lease v, forget v
//	done  as open up to the id, then retention v, len(type) u8, type, data
//	end   offset/8 of an open entry in the same segment u32, at u64, stamp-at/1000 z,
//	      retention v, len(type) u8, type, data
//	gone  len(scope) u8, len(id) u16, stamp u64, first v, until v, scope, id
//	mark  at u64
//	seal  at u64
//
// open says that a claim stands, done and end that the operation is done, gone that there is no
// record. Of all entries of a key the one with the largest stamp says what its state is. mark says
// that everything before it was acknowledged, seal that the segment ends.
type kind uint8

const (
	kindOpen kind = 1 + iota
	kindDone
	kindEnd
	kindGone
	kindMark
	kindSeal

	kindBits        = 0x0f
	flagFingerprint = 0x10
	flagFailed      = 0x20
)

const (
	entryHeader = 8
	batchBit    = 1 << 31 // in the length
	markSize    = entryHeader + 16
	sealSize    = entryHeader + 16

	// entryOverhead bounds an entry less its outcome's data.
	entryOverhead = 1280
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An entry is one of any kind. Of a decoded one, the strings and bytes are parts of what it was
// decoded from, until keep is called.
type entry struct {
	kind        kind // zero: there is no record
	key         once.Key
	fingerprint once.Fingerprint
	owner       once.Owner
	created, at instant
	stamp       uint64 // larger than that of any earlier entry of the key
	fence       uint64
	attempt     int

	// first is the lowest segment that may hold an earlier entry of the same record: if it is
	// before the entry's own, this entry keeps what is there from being believed.
	first uint64

	lease, forget time.Duration
	retention     time.Duration
	outcome       once.Outcome

	claim int64   // end: offset of the open entry
	until instant // gone: when what it removed would have been over; 0: it was a claim
}

// padded returns the size on disk of an entry with a body of n bytes.
func padded(n int) int { return (entryHeader + n + 7) &^ 7 }

// mix makes a checksum valid for one place only, so that what was written elsewhere, or to an
// earlier file in the same blocks, is never taken for an entry.
func mix(salt uint64, offset int64, length uint32) uint32 {
	x := salt ^ uint64(offset)<<32 ^ uint64(length)
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return uint32(x ^ x>>32)
}

// place finishes an encoded entry for its place: only then the checksum is valid.
func place(encoded []byte, salt uint64, offset int64, first bool) {
	length := binary.LittleEndian.Uint32(encoded)
	if first {
		length |= batchBit
		binary.LittleEndian.PutUint32(encoded, length)
	}
	sum := binary.LittleEndian.Uint32(encoded[4:])
	binary.LittleEndian.PutUint32(encoded[4:], sum^mix(salt, offset, length))
}

// encode appends the entry to b, whose length must be a multiple of eight, not yet placed.
func (e *entry) encode(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(e.kind)|e.flags())
	switch e.kind {
	case kindOpen:
		b = e.encodeRecord(b)
		b = binary.AppendUvarint(b, uint64(e.lease))
		b = binary.AppendUvarint(b, uint64(e.forget))
	case kindDone:
		b = e.encodeRecord(b)
		b = e.encodeOutcome(b)
	case kindEnd:
		b = binary.LittleEndian.AppendUint32(b, uint32(e.claim>>3))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.at))
		b = binary.AppendVarint(b, int64(e.stamp-uint64(e.at/1000)))
		b = e.encodeOutcome(b)
	case kindGone:
		b = e.encodeLengths(b)
		b = binary.LittleEndian.AppendUint64(b, e.stamp)
		b = binary.AppendUvarint(b, e.first)
		b = binary.AppendUvarint(b, uint64(e.until))
		b = append(b, e.key.Scope...)
		b = append(b, e.key.ID...)
	case kindMark, kindSeal:
		b = binary.LittleEndian.AppendUint64(b, uint64(e.at))
	}
	length := len(b) - start - entryHeader
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(length))
	seal(b[start:])
	return b
}

// seal sets the checksum of an entry that is not placed yet.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[entryHeader:], castagnoli))
}

func (e *entry) flags() (f byte) {
	if e.fingerprint != (once.Fingerprint{}) {
		f |= flagFingerprint
	}
	if e.outcome.Failed {
		f |= flagFailed
	}
	return f
}

func (e *entry) encodeLengths(b []byte) []byte {
	b = append(b, byte(len(e.key.Scope)))
	return binary.LittleEndian.AppendUint16(b, uint16(len(e.key.ID)))
}

func (e *entry) encodeRecord(b []byte) []byte {
	b = e.encodeLengths(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.created))
	b = append(b, e.owner[:]...)
	b = binary.AppendUvarint(b, uint64(e.at-e.created))
	b = binary.AppendVarint(b, int64(e.stamp-uint64(e.at/1000)))
	b = binary.AppendUvarint(b, e.stamp-e.fence)
	b = binary.AppendUvarint(b, uint64(e.attempt))
	b = binary.AppendUvarint(b, e.first)
	if e.fingerprint != (once.Fingerprint{}) {
		b = append(b, e.fingerprint[:]...)
	}
	b = append(b, e.key.Scope...)
	return append(b, e.key.ID...)
}

func (e *entry) encodeOutcome(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(e.retention))
	b = append(b, byte(len(e.outcome.Type)))
	b = append(b, e.outcome.Type...)
	return append(b, e.outcome.Data...)
}
