package oncedisk

import "math/bits"

// A location says where an entry is: the segment's number and the entry's offset in units of
// eight bytes. The zero location is nowhere.
type location uint64

const (
	offsetBits = 27 // of eight bytes: segments have up to 1 GiB
	numberBits = 36

	// goneBit tells, while a store is being opened, that the entry says the record is gone.
	goneBit location = 1 << (offsetBits + numberBits)
)

func locate(segment uint64, offset int64) location {
	return location(segment)<<offsetBits | location(offset)>>3
}

func (l location) segment() uint64 { return uint64(l&^goneBit) >> offsetBits }
func (l location) offset() int64   { return int64(l&(1<<offsetBits-1)) << 3 }

// A table maps the hashes of keys to locations. Different keys may have the same hash, so one
// hash may have several locations, and who looks one up compares the key that is stored there.
//
// It is an array of 16-byte slots with linear probing, in which slots are kept in the order of
// their hashes: a slot's home grows with its hash, a search ends at the first larger hash, and
// removing moves the slots behind one up and leaves nothing in its place. The array grows by a
// quarter when it is 7/8 full, so that a record costs between 18 and 23 bytes.
type table struct {
	slots []slot // with overflow slots beyond the last home
	homes uint64
	count int
}

type slot struct {
	hash uint64
	loc  location // 0: the slot is free
}

const (
	overflow  = 64
	fewHomes  = 8
	growthNum = 5
	growthDen = 4
)

// home leaves out the hash's last byte, which chooses the shard.
func (t *table) home(hash uint64) int {
	hi, _ := bits.Mul64(hash&^0xff, t.homes)
	return int(hi)
}

// find appends the locations of the hash to locs.
func (t *table) find(hash uint64, locs []location) []location {
	if t.count == 0 {
		return locs
	}
	for i := t.home(hash); i < len(t.slots) && t.slots[i].loc != 0 && t.slots[i].hash <= hash; i++ {
		if t.slots[i].hash == hash {
			locs = append(locs, t.slots[i].loc)
		}
	}
	return locs
}

// index returns the place of a slot, or -1.
func (t *table) index(hash uint64, loc location) int {
	if t.count == 0 {
		return -1
	}
	for i := t.home(hash); i < len(t.slots) && t.slots[i].loc != 0 && t.slots[i].hash <= hash; i++ {
		if t.slots[i] == (slot{hash, loc}) {
			return i
		}
	}
	return -1
}

func (t *table) has(hash uint64, loc location) bool { return t.index(hash, loc) >= 0 }

// insert adds a location to those of the hash.
func (t *table) insert(hash uint64, loc location) {
	if uint64(t.count)*8 >= t.homes*7 {
		t.reserve(max(fewHomes, int(t.homes)*growthNum/growthDen))
	}
	for !t.place(slot{hash, loc}) {
		t.reserve(int(t.homes) * growthNum / growthDen)
	}
}

// place puts the slot where it belongs, or reports that the overflow slots are used up.
func (t *table) place(s slot) bool {
	i := t.home(s.hash)
	for t.slots[i].loc != 0 && t.slots[i].hash <= s.hash {
		if i++; i == len(t.slots) {
			return false
		}
	}
	free := i
	for t.slots[free].loc != 0 {
		if free++; free == len(t.slots) {
			return false
		}
	}
	copy(t.slots[i+1:free+1], t.slots[i:free])
	t.slots[i] = s
	t.count++
	return true
}

// reserve makes an array of that many homes.
func (t *table) reserve(homes int) {
	old := t.slots
	for grown := false; !grown; homes = homes*growthNum/growthDen + 1 {
		t.homes, t.count = uint64(homes), 0
		t.slots = make([]slot, homes+min(overflow, homes))
		grown = true
		for _, s := range old {
			if s.loc != 0 && !t.place(s) {
				grown = false
				break
			}
		}
	}
}

// remove takes the location from those of the hash, and reports whether it was one.
func (t *table) remove(hash uint64, loc location) bool {
	i := t.index(hash, loc)
	if i < 0 {
		return false
	}
	end := i + 1
	for end < len(t.slots) && t.slots[end].loc != 0 && t.home(t.slots[end].hash) < end {
		end++
	}
	copy(t.slots[i:], t.slots[i+1:end])
	t.slots[end-1] = slot{}
	t.count--
	return true
}

// replace changes a location of the hash into another, and reports whether it was one.
func (t *table) replace(hash uint64, from, to location) bool {
	i := t.index(hash, from)
	if i < 0 {
		return false
	}
	t.slots[i].loc = to
	return true
}

// shrink gives memory back when most of it is free.
func (t *table) shrink() {
	if uint64(t.count)*4 < t.homes && t.homes > fewHomes {
		t.reserve(max(fewHomes, t.count*growthNum/growthDen+1))
	}
}
