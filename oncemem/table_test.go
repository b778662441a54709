package oncemem

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"github.com/oncehq/once"
)

func TestSizes(t *testing.T) {
	if got := unsafe.Sizeof(record{}); got != 176 {
		t.Errorf("a record has %d bytes, but is counted as 176", got)
	}
	var s Store
	for part, at := range map[string]uintptr{
		"counters":     unsafe.Offsetof(s.records),
		"first shard":  unsafe.Offsetof(s.shards),
		"second shard": unsafe.Offsetof(s.shards) + unsafe.Sizeof(shard{}),
	} {
		if at%64 != 0 {
			t.Errorf("%s: begins at %d, within a cache line of 64 bytes", part, at)
		}
	}
}

// TestTableFindsWhatIsInIt does random insertions and removals on a table, in which many keys have
// the same hash or are looked for from the same slot, and compares it with a map.
func TestTableFindsWhatIsInIt(t *testing.T) {
	for _, spread := range []uint64{1, 3, 40, 1 << 40} {
		var tab table
		want := make(map[once.Key]*record)
		hashes := make(map[once.Key]uint64)
		for range 20_000 {
			k := once.Key{Scope: "s", ID: strconv.Itoa(rand.IntN(100))}
			if _, ok := hashes[k]; !ok {
				hashes[k] = rand.Uint64N(spread) << 32
			}
			r := want[k]
			if got := tab.find(hashes[k], k); got != r {
				t.Fatalf("spread %d: found %p for a key, want %p", spread, got, r)
			}
			if r == nil {
				r = &record{hash: hashes[k]}
				r.name(k)
				want[k] = r
				tab.insert(r.hash, r)
			} else {
				delete(want, k)
				tab.remove(r)
			}
			if tab.used != len(want) {
				t.Fatalf("spread %d: %d slots are used by %d records", spread, tab.used, len(want))
			}
		}
	}
}

func TestTableAndQueueGiveMemoryBack(t *testing.T) {
	var tab table
	var q queue
	var records []*record
	for n := range 10_000 {
		r := &record{hash: rand.Uint64()}
		r.name(once.Key{Scope: "s", ID: strconv.Itoa(n)})
		tab.insert(r.hash, r)
		q.set(r, instant(n))
		records = append(records, r)
	}
	for _, r := range records {
		tab.remove(r)
		q.remove(r)
	}
	if len(tab.slots) > minSlots || cap(q) > 2*minSlots {
		t.Errorf("the empty table has %d slots, the empty queue room for %d", len(tab.slots), cap(q))
	}
}

// TestQueueYieldsTheFirst does random changes to a queue and compares it with a sorted slice.
func TestQueueYieldsTheFirst(t *testing.T) {
	var q queue
	var in, out []*record
	due := make(map[*record]instant)
	for range 200 {
		out = append(out, new(record))
	}
	take := func(from *[]*record) *record {
		i := rand.IntN(len(*from))
		r := (*from)[i]
		*from = slices.Delete(*from, i, i+1)
		return r
	}
	for range 20_000 {
		switch n := rand.IntN(3); {
		case n == 0 && len(out) > 0: // add
			r := take(&out)
			due[r] = instant(rand.IntN(100))
			q.set(r, due[r])
			in = append(in, r)
		case n == 1 && len(in) > 0: // move
			r := in[rand.IntN(len(in))]
			due[r] = instant(rand.IntN(100))
			q.set(r, due[r])
		case n == 2 && len(in) > 0: // remove
			r := take(&in)
			q.remove(r)
			q.remove(r) // a second time does nothing
			out = append(out, r)
		}
		want := never
		for _, r := range in {
			want = min(want, due[r])
			if q[r.place-1].r != r {
				t.Fatal("a record does not know its place")
			}
		}
		if got := q.first(); got != want || len(q) != len(in) {
			t.Fatalf("the first of %d records is due at %d, want %d of %d", len(q), got, want, len(in))
		}
	}
}
