package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// What was once said to be done stays so: also what a process that was killed had written and not
// flushed, when after that the power fails.
func TestIDsThatAreFoundAreDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := idsOn(t, m, idCrashConfig)
		completeSome(t, s, "first %d", 3)
		var killed *memory
		m.onStep(func(op, _ string) error {
			if op == "sync" && killed == nil {
				killed = m.crash(nil)
				for name, n := range killed.names { // the machine has not flushed it by itself
					n.flushed = slices.Clone(m.names[name].flushed)
					n.writes = append(n.writes, m.names[name].writes...)
				}
			}
			return nil
		})
		ids := completeSome(t, s, "second %d", 3)
		m.onStep(nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = idsOn(t, killed, idCrashConfig)
		wantIDs(t, s, ids, once.IDDone, "after the process was killed")
		killed.mu.Lock()
		left := killed.crash(rand.New(rand.NewPCG(1, 1)))
		for name, n := range left.names {
			n.data = slices.Clone(killed.names[name].flushed) // nothing that was not flushed
		}
		killed.mu.Unlock()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = idsOn(t, left, idCrashConfig)
		wantIDs(t, s, ids, once.IDDone, "after the power failed")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A wall clock that was set back between two processes does not bring buckets together.
func TestIDsWhenTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := idsOn(t, m, idCrashConfig)
		synctest.Wait()
		s.clock.origin = s.clock.origin.plus(24 * time.Hour)
		first := completeSome(t, s, "first %d", 10)
		time.Sleep(30 * time.Minute)
		synctest.Wait() // archived
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = idsOn(t, m, idCrashConfig)
		second := completeSome(t, s, "second %d", 10)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = idsOn(t, m, idCrashConfig)
		wantIDs(t, s, append(first, second...), once.IDDone, "opened again")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Every call may come while the store is being closed: it is carried out, or returns ErrClosed.
func TestIDsAreClosedAtAnyMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[string]bool{}
	var mu sync.Mutex
	for round := range 10 / min(slowdown, 2) {
		cfg := IDsConfig{Dir: dir, Window: time.Hour}
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		v, err := openDirectory(dir, true)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Buckets = 1_000_000 // of a few milliseconds, so that most is in archives
		s, err := openIDs(v, cfg, 64*page)
		if err != nil {
			t.Fatal(err)
		}
		old := make([]string, 0, len(acked))
		for id := range acked {
			old = append(old, id)
		}
		wantIDs(t, s, old[:min(len(old), once.MaxIDs)], once.IDDone, "opened again")
		var all sync.WaitGroup
		for g := range 6 {
			all.Go(func() {
				for n := 0; ; n++ {
					ids := []string{fmt.Sprint(round, g, n), fmt.Sprint(round, g, n-7)}
					states, err := s.ClaimIDs(context.Background(), "s", once.NewOwner(), ids)
					mu.Lock()
					if err == nil && acked[ids[1]] && states[1] == once.IDClaimed {
						t.Errorf("%s is %v after it was done", ids[1], states[1])
					}
					mu.Unlock()
					if err == nil {
						s.Stats()
						err = s.CompleteIDs(context.Background(), "s", once.NewOwner(), ids[:1])
					}
					switch {
					case errors.Is(err, once.ErrClosed):
						return
					case err != nil:
						t.Error(err)
						return
					}
					mu.Lock()
					acked[ids[0]] = true
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	}
}
