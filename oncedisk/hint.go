package oncedisk

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"time"
)

// A hint is a file beside a sealed segment that says what a scan of the segment would find, so
// that opening the store does not have to read it. It adds nothing to what the segment says: a
// hint that is missing or damaged costs a scan.
//
//	magic [8], version u32, refs u32, segment u64, end u64, instant u64, stamp u64,
//	held u64, until u64, gone u64, first u64, spans [tallySpans] u64,
//	refs: hash u64, offset/8 << 2 | kind (1 open, 2 done or end, 3 gone) u32
//	CRC-32C of all that
const (
	hintSuffix = ".hint"
	hintMagic  = "oncehint"
	hintHeader = 8 + 4 + 4 + 8*8 + 8*tallySpans
	hintRef    = 12
)

// hintDelay is how long a sealed segment is left before its hint is written: by then most of the
// claims whose outcomes are in the next segment are done, and need not be in the hint.
const hintDelay = 2 * time.Second

// A ref is what the index, and a hint, have to know of one entry. It is small: there are two for
// each operation until the segment's hint is written.
type ref struct {
	hash   uint64
	expiry instant
	place  uint32 // offset/8 << 3 | kind << 1 | whether it keeps earlier segments from being believed
	size   uint32
}

// The kinds of entries in a ref; an end entry counts as done.
const (
	refOpen = 1 + iota
	refDone
	refGone
)

// ref returns the ref of an entry with this place.
func (e *entry) ref(hash uint64, seg *segment, offset, size int64) ref {
	k := uint32(refGone)
	switch e.kind {
	case kindOpen:
		k = refOpen
	case kindDone, kindEnd:
		k = refDone
	}
	r := ref{hash: hash, expiry: e.expiry(), size: uint32(size), place: uint32(offset>>3)<<3 | k<<1}
	if e.first != 0 && e.first < seg.number {
		r.place |= 1
	}
	return r
}

func (r *ref) kind() uint32  { return r.place >> 1 & 3 }
func (r *ref) offset() int64 { return int64(r.place>>3) << 3 }
func (r *ref) shields() bool { return r.place&1 != 0 }

// A hint is the content of a hint file.
type hint struct {
	end     int64
	latest  instant // no entry of the segment is later
	stamp   uint64  // or larger
	held    int64   // these and spans count the done records only
	until   int64
	gone    int64
	first   uint64
	expires [tallySpans]int64
	refs    []ref  // when it is to be written
	raw     []byte // refs as they were read
}

func hintName(number uint64) string {
	name := segmentName(number)
	return name[:len(name)-len(segmentSuffix)] + hintSuffix
}

// newHint keeps those refs of which the entry matters: it is the state of its key, or it keeps an
// earlier segment's from being believed.
func (s *Store) newHint(seg *segment, refs []ref) *hint {
	h := &hint{
		end: seg.end, latest: s.clock.now(), stamp: s.clock.last.Load(),
		until: seg.until.Load(), gone: seg.tally.gone.Load(), first: seg.first.Load(),
		refs: make([]ref, 0, len(refs)/2),
	}
	for _, r := range refs {
		if r.kind() != refGone && !r.shields() && !s.live(seg, &r) {
			continue
		}
		h.refs = append(h.refs, r)
		switch {
		case r.kind() != refDone:
		case r.expiry == never:
			h.held += int64(r.size)
		default:
			h.expires[span(r.expiry-seg.created)] += int64(r.size)
		}
	}
	return h
}

// live reports whether the ref's entry is what its key's state is.
func (s *Store) live(seg *segment, r *ref) bool {
	loc := locate(seg.number, r.offset())
	sh := s.shard(r.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.table.has(r.hash, loc) {
		return true
	}
	for c := sh.cells[r.hash]; c != nil; c = c.next {
		if c.loc == loc {
			return true
		}
	}
	return false
}

func (h *hint) encode(seg *segment) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, hintHeader+hintRef*len(h.refs)+4)
	b = append(b, hintMagic...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, uint32(len(h.refs)))
	for _, v := range []uint64{seg.number, uint64(h.end), uint64(h.latest), h.stamp,
		uint64(h.held), uint64(h.until), uint64(h.gone), h.first} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range h.expires {
		b = le.AppendUint64(b, uint64(v))
	}
	for _, r := range h.refs {
		b = le.AppendUint64(b, r.hash)
		b = le.AppendUint32(b, r.place>>3<<2|r.kind())
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHint returns nil if the bytes are not the segment's hint.
func decodeHint(b []byte, seg *segment) *hint {
	le := binary.LittleEndian
	if len(b) < hintHeader+4 || string(b[:8]) != hintMagic || le.Uint32(b[8:]) != formatVersion ||
		len(b) != hintHeader+hintRef*int(le.Uint32(b[12:]))+4 || le.Uint64(b[16:]) != seg.number ||
		le.Uint32(b[len(b)-4:]) != crc32.Checksum(b[:len(b)-4], castagnoli) {
		return nil
	}
	h := &hint{
		end: int64(le.Uint64(b[24:])), latest: instant(le.Uint64(b[32:])), stamp: le.Uint64(b[40:]),
		held: int64(le.Uint64(b[48:])), until: int64(le.Uint64(b[56:])),
		gone: int64(le.Uint64(b[64:])), first: le.Uint64(b[72:]),
		raw: b[hintHeader : len(b)-4],
	}
	for i := range h.expires {
		h.expires[i] = int64(le.Uint64(b[80+8*i:]))
	}
	return h
}

// each calls f with the refs of a hint that was read.
func (h *hint) each(f func(*ref) error) error {
	var r ref
	for b := h.raw; len(b) >= hintRef; b = b[hintRef:] {
		v := binary.LittleEndian.Uint32(b[8:])
		r = ref{hash: binary.LittleEndian.Uint64(b), place: v>>2<<3 | v&3<<1}
		if err := f(&r); err != nil {
			return err
		}
	}
	return nil
}

// readHint returns the segment's hint, or nil if there is none that is whole.
func readHint(v volume, seg *segment) (*hint, error) {
	f, err := v.Open(hintName(seg.number), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > hintHeader+MaxSegmentSize {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, nil // as good as damaged
	}
	return decodeHint(b, seg), nil
}

// writeHint writes the hint of a sealed segment.
func (s *Store) writeHint(seg *segment) error {
	h := s.newHint(seg, seg.refs)
	name := hintName(seg.number)
	if err := writeTemp(s.vol, name, h.encode(seg)); err != nil {
		return err
	}
	if err := s.vol.Rename(name+tempSuffix, name); err != nil {
		return err
	}
	// Room that no entry fitted in goes back to the disk.
	if err := seg.f.Truncate(seg.end); err != nil {
		return err
	}
	seg.refs = nil
	seg.hinted.Store(true)
	return nil
}

// eachRef calls f with what there is to know of each entry of a sealed segment.
func (s *Store) eachRef(seg *segment, f func(*ref) error) error {
	if !seg.hinted.Load() {
		for i := range seg.refs {
			if err := f(&seg.refs[i]); err != nil {
				return err
			}
		}
		return nil
	}
	h, err := readHint(s.vol, seg)
	if err != nil {
		return err
	}
	if h != nil {
		return h.each(f)
	}
	_, err = s.scanRefs(seg, func(r ref, _ *entry) error { return f(&r) })
	return err
}
