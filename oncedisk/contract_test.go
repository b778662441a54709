package oncedisk

import (
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncetest"
)

// small makes every test go through many segments.
var small = Config{Dir: "/memory", SegmentSize: MinSegmentSize}

func (c Config) on(t *testing.T, v volume, hash func(once.Key) uint64) *Store {
	t.Helper()
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	s, err := open(v, c, origin{hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(hash func(once.Key) uint64) func(*testing.T, once.Store) once.Store {
	return func(t *testing.T, old once.Store) once.Store {
		t.Helper()
		s := old.(*Store)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return s.cfg.on(t, s.vol, hash)
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	oncetest.TestStore(t, oncetest.Options{
		Open:       func(t *testing.T) once.Store { return small.on(t, newMemory(), nil) },
		Reopen:     reopen(nil),
		Bubble:     true,
		MaxOutcome: MinSegmentSize / 4,
		Histories:  6,
	})
}

// All keys of a scope have the same hash, so that only the keys on the disk tell them apart.
func TestContractWithCollidingHashes(t *testing.T) {
	t.Parallel()
	collide := func(k once.Key) uint64 { return uint64(len(k.ID)) % 3 }
	oncetest.TestStore(t, oncetest.Options{
		Open:       func(t *testing.T) once.Store { return small.on(t, newMemory(), collide) },
		Reopen:     reopen(collide),
		Bubble:     true,
		MaxOutcome: MinSegmentSize / 4,
		Histories:  3,
	})
}

func TestContractOnTheMachinesDisk(t *testing.T) {
	t.Parallel()
	oncetest.TestStore(t, oncetest.Options{
		Open: func(t *testing.T) once.Store {
			s, err := Open(Config{Dir: t.TempDir(), SegmentSize: 4 << 20})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
		Reopen: func(t *testing.T, old once.Store) once.Store {
			s := old.(*Store)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(s.cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	})
}
