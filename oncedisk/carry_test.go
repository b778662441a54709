package oncedisk

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// straggle completes operations in so many segments, of which a third outlives the rest and is to
// be carried elsewhere, in several writes for each segment.
func straggle(w *writer, size, segments int) (kept []once.Key) {
	w.Helper()
	for range segments {
		for w.s.log.active.end < MinSegmentSize/3 {
			long := w.claim(w.key(), 0)
			w.complete(long, size, 100*time.Hour)
			kept = append(kept, long.Key)
		}
		w.fill(time.Second)
	}
	return kept
}

// What is carried is flushed once, however many writes it took. When the power fails before, any
// part of it may be there, and it is not damage: the records are still where they came from.
func TestCarryingMayStopAnywhere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(max(1, 2/slowdown)) {
		synctest.Test(t, func(t *testing.T) {
			w := newWriter(t)
			m := w.s.vol.(*memory)
			kept := straggle(w, 700, 5)
			dice := rand.New(rand.NewPCG(seed, 11))
			m.onStep(func(op, name string) error {
				for range max(1, 4/slowdown) {
					left := m.crash(dice)
					if t.Failed() {
						return nil
					}
					s, err := open(left, w.s.cfg, origin{})
					if err != nil {
						t.Errorf("before %s of %s: open: %v", op, name, err)
						return nil
					}
					for _, k := range kept {
						if rec, err := s.Load(context.Background(), k); rec.State != once.Done {
							t.Errorf("before %s of %s: record is %v, error %v", op, name, rec.State, err)
						}
					}
					s.Close()
				}
				return nil
			})
			time.Sleep(time.Minute)
			m.onStep(nil)
			if n := len(w.s.segments.list()); n > 6 {
				t.Errorf("the test is wrong: %d segments are left", n)
			}
		})
	}
}

// When the disk is full, what cannot be carried stays, and the store goes on.
func TestFullDisksKeepWhatIsToBeCarried(t *testing.T) {
	t.Parallel()
	for pages := int64(0); pages < 12; pages += min(slowdown, 4) {
		for _, size := range []int{608, 1000, 3000} {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				w := &writer{T: t, s: quiet().on(t, m, nil)}
				kept := straggle(w, size, 2)
				check := func(when string) {
					t.Helper()
					if err := w.s.log.failed(); err != nil {
						t.Fatalf("%d pages, %s: %v", pages, when, err)
					}
					for _, k := range kept {
						w.is(k, once.Done)
					}
				}
				synctest.Wait()
				m.mu.Lock()
				m.room = pages * page
				m.mu.Unlock()
				time.Sleep(10 * time.Minute)
				check("on a full disk")
				w.killed(func() { check("opened after a full disk") })
				w.s.vol.(*memory).mu.Lock()
				w.s.vol.(*memory).room = 1 << 40
				w.s.vol.(*memory).mu.Unlock()
				time.Sleep(time.Hour)
				check("when there was room again")
				if n := len(w.s.segments.list()); n > 4 {
					t.Errorf("%d pages: %d segments are left when there was room again", pages, n)
				}
				w.killed(func() { check("opened after all") })
			})
		}
	}
}

// A claim that is carried keeps its key, whatever is read after it.
func TestCarriedClaimsKeepTheirKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: "/memory", SegmentSize: 2 * windowSize}
		w := &writer{T: t, s: cfg.on(t, newMemory(), nil)}
		var doubtful []once.Key
		for number := w.s.log.number(); w.s.log.number() == number; {
			doubtful = append(doubtful, w.claim(w.key(), 0).Key)
			w.complete(w.claim(w.key(), 0), windowSize/4, time.Minute)
		}
		if err := w.s.Close(); err != nil { // so that no claim is in memory
			t.Fatal(err)
		}
		w.s = cfg.on(t, w.s.vol, nil)
		first := w.s.segments.list()[0].number
		time.Sleep(time.Hour)
		if w.s.segments.get(first) != nil {
			t.Fatal("the test is wrong: the segment is still there")
		}
		for _, k := range doubtful {
			w.is(k, once.InDoubt)
		}
	})
}
