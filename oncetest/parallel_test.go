package oncetest

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/oncehq/once"
)

// So many subtests run at the same time as is said, and those alone that reopen the store.
func TestParallel(t *testing.T) {
	const most = 4
	var open, peak, reopened atomic.Int64
	o := mutant{}.options()
	o.Parallel = most
	o.Open = func(t *testing.T) once.Store {
		now := open.Add(1)
		t.Cleanup(func() { open.Add(-1) })
		for tries := 0; peak.Load() < most && tries < 10_000_000 && reopened.Load() == 0; tries++ {
			peak.Store(max(peak.Load(), open.Load()))
			runtime.Gosched()
		}
		if now > most {
			t.Errorf("%d subtests are running, want at most %d", now, most)
		}
		return newTwisted(nil)
	}
	o.Reopen = func(t *testing.T, s once.Store) once.Store {
		reopened.Add(1)
		if now := open.Load(); now != 1 {
			t.Errorf("%d subtests are running while the store is reopened", now)
		}
		return s
	}
	TestStore(t, o)
	if peak.Load() != most || reopened.Load() == 0 {
		t.Errorf("%d subtests ran at the same time, want %d; the store was reopened %d times",
			peak.Load(), most, reopened.Load())
	}
}
