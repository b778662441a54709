package oncedisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	segmentSuffix = ".seg"
	segmentHeader = 64
	segmentMagic  = "once.seg"

	// page is what the kernel reads and writes at once. Batches are padded to it, so that
	// writing one never has to read what was there.
	page = 4096
)

// A use says what a segment is for.
type use uint32

const (
	useLog   use = 1 + iota // what verbs append, in the order of time
	useCarry                // done records carried forward, of about the same expiry
)

// A segment is one file of the log.
type segment struct {
	number  uint64
	use     use
	salt    uint64
	created instant
	stamp   uint64 // the store's when the segment was made: a lower bound of later ones
	f       file
	size    int64 // of the file until it is sealed

	// Guarded by the log's mutex while sealed is false, and constant from then on.
	end      int64   // of the entries
	refs     []ref   // what a hint of the segment will say
	sealedAt instant // when the seal was appended; zero: before the store was opened

	sealed  atomic.Bool  // ends with a seal entry, which is durable
	pending atomic.Int64 // entries whose verbs have not yet brought the index up to date
	hinted  atomic.Bool

	bequeathed bool // what it keeps from being believed is kept so elsewhere; used by sweep only

	tally
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

// parseNumber reads the number from the name of a segment or a hint.
func parseNumber(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, numberBits)
	return n, err == nil && n > 0
}

func (s *segment) header() []byte {
	b := make([]byte, 0, segmentHeader)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(s.use))
	b = binary.LittleEndian.AppendUint64(b, s.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.created))
	b = binary.LittleEndian.AppendUint64(b, s.stamp)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.size))
	b = append(b, make([]byte, segmentHeader-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openSegment opens a segment that has a name, which means that its header is durable.
func openSegment(v volume, number uint64, key seed, writable bool) (*segment, error) {
	name := segmentName(number)
	f, err := v.Open(name, writable)
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, salt: key.salt(number), f: f, end: segmentHeader}
	if err := s.readHeader(v.Path(name)); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *segment) readHeader(path string) error {
	var b [segmentHeader]byte
	if _, err := s.f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return &DamageError{File: path, Reason: "the segment's header cannot be read: " + err.Error()}
	}
	le := binary.LittleEndian
	if version := le.Uint32(b[8:]); string(b[:8]) == segmentMagic && version != formatVersion &&
		le.Uint32(b[segmentHeader-4:]) == crc32.Checksum(b[:segmentHeader-4], castagnoli) {
		return fmt.Errorf("oncedisk: %s: format %d is unknown to this version, which knows %d; "+
			"use the version of once that wrote it", path, version, formatVersion)
	}
	s.use = use(le.Uint32(b[12:]))
	s.created = instant(le.Uint64(b[24:]))
	s.stamp = le.Uint64(b[32:])
	s.size = int64(le.Uint64(b[40:]))
	if string(b[:]) != string(s.header()) || s.use != useLog && s.use != useCarry ||
		s.size < segmentHeader || s.size > MaxSegmentSize {
		return &DamageError{File: path, Reason: "the segment's header is damaged"}
	}
	return nil
}

// A DamageError says where acknowledged data are not what was written.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("oncedisk: %s: damaged at offset %d: %s; restore a backup, "+
		"or save what is readable with once doctor", e.File, e.Offset, e.Reason)
}
