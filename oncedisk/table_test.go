package oncedisk

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The table does what a map of hashes to sets of locations does, however it grows and shrinks.
func TestTableIsAMap(t *testing.T) {
	t.Parallel()
	for _, spread := range []uint64{1 << 63, 1 << 12, 40} { // the last: every hash is used often
		rnd := rand.New(rand.NewPCG(spread, 1))
		var tab table
		want := map[slot]bool{}
		hash := func() uint64 { return rnd.Uint64N(spread) * (1<<63/spread + 1) }
		for i := range 80_000 / slowdown {
			growing := i%8000 < 5000
			switch s := (slot{hash(), location(1 + rnd.Uint64N(1000))}); {
			case growing && len(want) < 3000 && !want[s]:
				tab.insert(s.hash, s.loc)
				want[s] = true
			case len(want) > 0:
				for s = range want { // any
					break
				}
				if to := (slot{s.hash, s.loc + 5000}); rnd.IntN(4) == 0 && !want[to] {
					if !tab.replace(s.hash, s.loc, to.loc) {
						t.Fatalf("a location is not found, spread %d", spread)
					}
					delete(want, s)
					want[to] = true
				} else {
					if !tab.remove(s.hash, s.loc) || tab.remove(s.hash, s.loc) {
						t.Fatalf("a location is not removed once, spread %d", spread)
					}
					delete(want, s)
				}
			}
			if i%9000 == 0 {
				tab.shrink()
			}
			if i%4000 == 0 {
				compareTable(t, &tab, want)
			}
		}
		compareTable(t, &tab, want)
	}
}

func compareTable(t *testing.T, tab *table, want map[slot]bool) {
	t.Helper()
	if tab.count != len(want) {
		t.Fatalf("the table has %d locations, want %d", tab.count, len(want))
	}
	byHash := map[uint64][]location{}
	for s := range want {
		byHash[s.hash] = append(byHash[s.hash], s.loc)
	}
	for h, want := range byHash {
		got := tab.find(h, nil)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("hash %x has the locations %v, want %v", h, got, want)
		}
	}
}

// A record costs at most 24 bytes when there are many.
func TestTableIsSmall(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var tab table
	for n := 1; n <= 200_000; n++ {
		tab.insert(rnd.Uint64(), 1)
		if size := 16 * len(tab.slots); n > 2000 && size > 24*n {
			t.Fatalf("%d records take %d bytes, %d each", n, size, size/n)
		}
	}
}

func TestLocationsKeepWhatTheyAreMadeOf(t *testing.T) {
	t.Parallel()
	for _, number := range []uint64{1, 2, 1<<numberBits - 1} {
		for _, offset := range []int64{0, 64, 1<<30 - 8} {
			l := locate(number, offset)
			if l.segment() != number || l.offset() != offset {
				t.Errorf("%d, %d became %d, %d", number, offset, l.segment(), l.offset())
			}
			if g := l | goneBit; g.segment() != number || g.offset() != offset || g == l {
				t.Errorf("the bit of what is gone disturbs %d, %d", number, offset)
			}
		}
	}
}
