//go:build linux

package powercut

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// plain is a content in the plainest way.
type plain []byte

func (p plain) resized(size int) plain {
	if size <= len(p) {
		return p[:size:size]
	}
	return append(p[:len(p):len(p)], make([]byte, size-len(p))...)
}

func (c *content) bytes() []byte {
	buf := make([]byte, c.size+100)
	return buf[:c.read(buf, 0)]
}

// TestContentIsThatOfPlainBytes changes files at random, and compares them with slices.
func TestContentIsThatOfPlainBytes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var f file
		var now, safe plain
		for step := range 60 {
			off, n := rnd.IntN(5*pageSize), rnd.IntN(3*pageSize)
			switch rnd.IntN(6) {
			case 0, 1:
				data := make([]byte, n)
				for i := range data {
					data[i] = byte(1 + rnd.IntN(255))
				}
				f.write(data, int64(off))
				if n > 0 {
					now = bytes.Clone(now.resized(max(len(now), off+n)))
					copy(now[off:], data)
				}
			case 2:
				f.truncate(int64(off))
				now = bytes.Clone(now.resized(off))
			case 3:
				f.zero(int64(off), int64(n))
				now = bytes.Clone(now)
				clear(now[min(off, len(now)):min(off+n, len(now))])
			case 4:
				f.sync()
				safe = now
			case 5: // the power is cut
				f = f.kept(nil)
				now = safe
			}
			if got := f.now.bytes(); !bytes.Equal(got, now) {
				t.Fatalf("seed %d, step %d: the present content differs", seed, step)
			}
			if got := f.safe.bytes(); !bytes.Equal(got, safe) {
				t.Fatalf("seed %d, step %d: the safe content differs", seed, step)
			}
		}
	}
}

func TestSyncOfARangeKeepsNothingElse(t *testing.T) {
	t.Parallel()
	var f file
	f.write(bytes.Repeat([]byte("a"), 4*pageSize), 0)
	f.syncRange(2*pageSize, 10)
	k := f.kept(nil)
	want := append(make([]byte, 2*pageSize), bytes.Repeat([]byte("a"), 10)...)
	if got := k.now.bytes(); !bytes.Equal(got, want) {
		t.Errorf("%d bytes were kept, or the wrong ones", len(got))
	}
	k.truncate(3 * pageSize)
	if got := k.now.bytes()[2*pageSize+10:]; !bytes.Equal(got, make([]byte, pageSize-10)) {
		t.Error("what was not kept is back when the file grows")
	}
}

// TestTornContentIsMadeOfOldAndNew checks what chance may keep, and that it does keep each of it.
func TestTornContentIsMadeOfOldAndNew(t *testing.T) {
	t.Parallel()
	const safePages, pages = 3, 6
	var pageOld, pageNew, pageTorn, shorter, whole int
	for seed := range uint64(400) {
		var f file
		f.write(bytes.Repeat([]byte("o"), safePages*pageSize), 0)
		f.sync()
		f.write(bytes.Repeat([]byte("n"), pages*pageSize), 0)
		k := f.kept(rand.New(rand.NewPCG(seed, 1)))
		got := k.now.bytes()
		if len(got) < safePages*pageSize {
			t.Fatalf("seed %d: only %d bytes are left of what was synced", seed, len(got))
		}
		if appended := got[safePages*pageSize:]; len(bytes.Trim(appended, "n")) > 0 {
			t.Fatalf("seed %d: what was appended has gaps", seed)
		}
		if len(got) < pages*pageSize {
			shorter++
		} else {
			whole++
		}
		for p := range safePages {
			var old int
			for s := 0; s < pageSize; s += sectorSize {
				sector := got[p*pageSize+s:][:sectorSize]
				switch {
				case len(bytes.Trim(sector, "o")) == 0:
					old++
				case len(bytes.Trim(sector, "n")) > 0:
					t.Fatalf("seed %d: a sector is torn", seed)
				}
			}
			switch old {
			case 0:
				pageNew++
			case pageSize / sectorSize:
				pageOld++
			default:
				pageTorn++
			}
		}
	}
	if min(pageOld, pageNew, pageTorn, shorter) == 0 {
		t.Errorf("pages: %d old, %d new, %d torn; %d files shorter, %d whole: something never happens",
			pageOld, pageNew, pageTorn, shorter, whole)
	}
}

func TestWhatIsSafeNeverChanges(t *testing.T) {
	t.Parallel()
	var f file
	f.write([]byte("safe"), 0)
	f.sync()
	k := f.kept(nil)
	f.write([]byte("x"), 0)
	k.write([]byte("y"), 1)
	f.truncate(2)
	if got := string(f.safe.bytes()); got != "safe" {
		t.Errorf("the safe content is %q", got)
	}
	if got := string(k.safe.bytes()); got != "safe" {
		t.Errorf("after the cut the safe content is %q", got)
	}
}
