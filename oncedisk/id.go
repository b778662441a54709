package oncedisk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// An id is what an [IDs] keeps of an id: a digest of it and its scope.
type id [idSize]byte

const idSize = 16

// head and tail are the id's halves, as numbers whose order is that of the bytes.
func (d id) head() uint64 { return binary.BigEndian.Uint64(d[:8]) }
func (d id) tail() uint64 { return binary.BigEndian.Uint64(d[8:]) }

func compareIDs(a, b id) int { return bytes.Compare(a[:], b[:]) }

// A naming makes ids. The store's seed is part of them, so that nobody can choose names that
// crowd one place of a table. It is for one goroutine at a time.
type naming struct {
	text []byte
	head int // how much of the text is the same for all
}

func (s seed) naming(scope string) naming {
	text := binary.LittleEndian.AppendUint64(s[:], uint64(len(scope)))
	text = append(text, scope...)
	return naming{text: slices.Grow(text, 64), head: len(text)}
}

func (n *naming) id(name string) id {
	n.text = append(n.text[:n.head], name...)
	sum := sha256.Sum256(n.text)
	d := id(sum[:idSize])
	if d == (id{}) {
		d[idSize-1] = 1 // zero is an empty slot
	}
	return d
}

// An idTable is a set of ids in memory: many small tables by the first byte, each with open
// addressing and linear probing, so that none takes long to grow. Its zero value is empty.
type idTable struct {
	shards [256]idShard
	count  int64
}

type idShard struct {
	slots []id // a power of two of them, or none; at most seven eighths are used
	used  int
}

const minIDSlots = 64

func (t *idTable) has(d id) bool {
	s := &t.shards[d[0]]
	if s.used == 0 {
		return false
	}
	_, found := s.find(d)
	return found
}

// find returns the slot that has the id, or the one where it belongs.
func (s *idShard) find(d id) (at int, found bool) {
	mask := len(s.slots) - 1
	for at = int(d.tail()) & mask; ; at = (at + 1) & mask {
		switch s.slots[at] {
		case d:
			return at, true
		case id{}:
			return at, false
		}
	}
}

// add adds the id and reports whether it is new.
func (t *idTable) add(d id) bool {
	s := &t.shards[d[0]]
	if s.used >= len(s.slots)/8*7 {
		s.grow()
	}
	at, found := s.find(d)
	if found {
		return false
	}
	s.slots[at] = d
	s.used++
	t.count++
	return true
}

func (s *idShard) grow() {
	old := s.slots
	s.slots = make([]id, max(minIDSlots, 2*len(old)))
	for _, d := range old {
		if d != (id{}) {
			at, _ := s.find(d)
			s.slots[at] = d
		}
	}
}

// sorted returns the ids whose first byte is that, in order, in the given memory.
func (t *idTable) sorted(first int, into []id) []id {
	into = into[:0]
	for _, d := range t.shards[first].slots {
		if d != (id{}) {
			into = append(into, d)
		}
	}
	slices.SortFunc(into, compareIDs)
	return into
}

// bytes returns the memory that the table takes.
func (t *idTable) bytes() int64 {
	n := int64(0)
	for i := range t.shards {
		n += int64(len(t.shards[i].slots)) * idSize
	}
	return n
}
