package oncemem

import "github.com/oncehq/once"

// A table finds records by the hash of their key: open addressing with linear probing, in which
// removal moves later records back instead of leaving marks (D. Knuth, The Art of Computer
// Programming, volume 3, section 6.4, algorithm R).
//
// A map of Go would need a second one for keys whose hashes are equal, and never gets smaller.
type table struct {
	slots []slot // a power of two of them, or none; at most three quarters are used
	used  int
}

// A slot without a record is free.
type slot struct {
	hash uint64
	r    *record
}

const minSlots = 8

// index returns the slot in which the search for the hash begins. The low bits of a hash select
// the shard, so the slot is selected by the high ones.
func (t *table) index(hash uint64) int { return int(hash>>32) & (len(t.slots) - 1) }

// find returns the record of the key, or nil.
func (t *table) find(hash uint64, k once.Key) *record {
	if t.used == 0 {
		return nil
	}
	for i := t.index(hash); ; i = (i + 1) & (len(t.slots) - 1) {
		switch s := &t.slots[i]; {
		case s.r == nil:
			return nil
		case s.hash == hash && s.r.names(k):
			return s.r
		}
	}
}

// insert adds the record, which must not be there.
func (t *table) insert(hash uint64, r *record) {
	if t.used >= len(t.slots)/4*3 {
		t.resize(max(minSlots, 2*len(t.slots)))
	}
	t.put(slot{hash, r})
	t.used++
}

func (t *table) put(s slot) {
	i := t.index(s.hash)
	for t.slots[i].r != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
}

// remove takes the record out, which must be there.
func (t *table) remove(r *record) {
	mask := len(t.slots) - 1
	free := t.index(r.hash)
	for t.slots[free].r != r {
		free = (free + 1) & mask
	}
	// Fill the gap with the next record whose search passes it, and so on with the gap that leaves.
	for i := (free + 1) & mask; t.slots[i].r != nil; i = (i + 1) & mask {
		if ideal := t.index(t.slots[i].hash); (i-ideal)&mask >= (i-free)&mask {
			t.slots[free] = t.slots[i]
			free = i
		}
	}
	t.slots[free] = slot{}
	t.used--
	if len(t.slots) > minSlots && t.used < len(t.slots)/8 {
		t.resize(len(t.slots) / 2)
	}
}

// resize moves the records to so many slots. It takes as long as the shard has records.
func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	for _, s := range old {
		if s.r != nil {
			t.put(s)
		}
	}
}
