package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// quiet is small without complaints in the test's output.
func quiet() Config {
	c := small
	c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	return c
}

// Any change to the file system may fail, once or from then on. A verb that returned an error may
// have been carried out or not; nothing that was acknowledged may be lost, and a flush that failed
// must not be taken for one that worked.
func TestFailingDisks(t *testing.T) {
	t.Parallel()
	for _, ops := range []string{"write", "sync", "create", "rename", "remove", "truncate", "syncdir", "any"} {
		for _, forEver := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for ever %v", ops, forEver), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(4) {
					synctest.Test(t, func(t *testing.T) { failSomewhere(t, seed, ops, forEver) })
				}
			})
		}
	}
}

func failSomewhere(t *testing.T, seed uint64, ops string, forEver bool) {
	h, m := newHistory(t, seed), newMemory()
	s := quiet().on(t, m, nil)
	dice := rand.New(rand.NewPCG(seed, 2))
	ok, failed := dice.IntN(8), false
	if ops == "write" || ops == "sync" || ops == "any" {
		ok = dice.IntN(80)
	}
	m.onStep(func(op, _ string) error {
		if ops != "any" && op != ops || failed && !forEver {
			return nil
		}
		if ok--; ok >= 0 {
			return nil
		}
		failed = true
		return syscall.EIO
	})
	var refused error
	for range 120 {
		if refused = h.run(s); refused != nil {
			break
		}
	}
	if s.log.failed() != nil {
		h.refusesAll(s)
	} else if refused != nil && h.running != (once.Key{}) && !errors.Is(refused, once.ErrFull) {
		t.Errorf("seed %d: a verb failed, and the store goes on: %v", seed, refused)
	}
	s.Close() // may fail
	m.onStep(nil)
	m.mu.Lock()
	unpowered := m.crash(dice)
	m.mu.Unlock()

	h.survives(unpowered, dice, fmt.Sprintf("seed %d: no power after the failure", seed), 0)
	s = quiet().on(t, m, nil)
	if err := h.check(s); err != nil {
		t.Fatalf("seed %d: opened after the failure: %v", seed, err)
	}
	h.believe(s)
	m.mu.Lock()
	unpowered = m.crash(dice)
	m.mu.Unlock()
	h.survives(unpowered, dice, fmt.Sprintf("seed %d: no power after it was opened again", seed), 0)
}

// refusesAll checks that a store that failed acknowledges nothing.
func (h *history) refusesAll(s *Store) {
	h.Helper()
	ctx := context.Background()
	k := h.running
	c := once.Claim{Key: once.Key{Scope: "another", ID: "one"}, Owner: once.NewOwner(), Lease: time.Minute}
	_, claim := s.Claim(ctx, c)
	_, load := s.Load(ctx, k)
	_, sweep := s.Sweep(ctx)
	for what, err := range map[string]error{
		"claim": claim, "load": load, "sweep": sweep,
		"complete": s.Complete(ctx, k, once.NewOwner(), once.Outcome{}, time.Hour),
		"renew":    s.Renew(ctx, k, once.NewOwner(), time.Hour),
		"release":  s.Release(ctx, k, once.NewOwner()),
		"forget":   s.Forget(ctx, k, once.NewOwner()),
	} {
		if !errors.Is(err, syscall.EIO) {
			h.Errorf("%s after the disk failed: got error %v, want what failed", what, err)
		}
	}
}

// believe takes what the store says of the key whose state was unknown for known.
func (h *history) believe(s *Store) {
	if h.running == (once.Key{}) {
		return
	}
	rec, err := s.Load(context.Background(), h.running)
	if h.next.differs(rec, err) == nil {
		h.known[h.running] = h.next
	}
	h.running = once.Key{}
}

// When the disk is full, claims are refused and operations in flight completed; when there is room
// again, claims are taken again.
func TestFullDisks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		m := newMemory()
		m.room = 5*MinSegmentSize + 1000
		w := &writer{T: t, s: quiet().on(t, m, nil)}
		var running []once.Claim
		var full error
		for full == nil {
			c := once.Claim{Key: w.key(), Owner: once.NewOwner(), Lease: time.Hour}
			if _, full = w.s.Claim(ctx, c); full == nil {
				running = append(running, c)
			}
			if n := len(running); n > 8 {
				w.complete(running[0], 4000, time.Minute)
				running = running[1:]
			}
			time.Sleep(time.Millisecond)
		}
		if !errors.Is(full, once.ErrFull) {
			t.Fatalf("claim on a full disk: got error %v, want ErrFull", full)
		}
		for _, c := range running {
			w.complete(c, 4000, time.Minute)
		}
		if _, err := w.s.Claim(ctx, running[0]); err != nil {
			t.Errorf("claim of what is done, on a full disk: got error %v", err)
		}
		time.Sleep(2 * time.Minute)
		w.complete(w.claim(w.key(), 0), 4000, time.Minute)
		w.killed(func() { w.is(running[0].Key, 0) })
	})
}

// Nothing that expires may come back when the power fails while its segments are being deleted.
func TestDeletionsReachTheDiskInOrder(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 1))
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		early := w.claim(w.key(), 0)
		w.fill(time.Second)
		w.complete(early, 10, time.Second)
		w.fill(time.Second)
		w.fill(time.Second)
		m := w.s.vol.(*memory)
		m.onStep(func(op, name string) error {
			for range 20 {
				left := m.crash(dice)
				left.loseHints()
				s := small.on(t, left, nil)
				rec, err := s.Load(context.Background(), early.Key)
				if rec.State != once.Done && !errors.Is(err, once.ErrNotFound) {
					t.Errorf("before %s of %s: the operation is %v, error %v", op, name, rec.State, err)
				}
				s.Close()
			}
			return nil
		})
		time.Sleep(time.Minute)
		m.onStep(nil)
		if n := len(w.s.segments.list()); n > 2 {
			t.Fatalf("the test is wrong: %d segments are left", n)
		}
	})
}

// While the disk hangs, each verb returns when its context is done, and what it began is finished
// without it.
func TestHangingDisksHoldNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := quiet().on(t, m, nil)
		hung := false
		synctest.Wait() // until the next segment is prepared
		m.onStep(func(op, _ string) error {
			if op == "sync" && !hung {
				hung = true
				m.mu.Unlock()
				defer m.mu.Lock()
				time.Sleep(10 * time.Second)
			}
			return nil
		})
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 5 { // the first is in the batch that hangs, the others behind it
			all.Go(func() {
				start := time.Duration(i) * time.Second
				time.Sleep(start)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := s.Claim(ctx, claimOf(i))
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("claim %d: %v", i, err)
				}
				if took := time.Since(begin) - start; took != time.Second {
					t.Errorf("claim %d returned after %v", i, took)
				}
			})
		}
		all.Wait()
		for i := range 5 {
			rec, err := s.Load(t.Context(), claimOf(i).Key) // waits for the disk
			if err != nil || rec.Owner != claimOf(i).Owner || rec.State != once.InFlight {
				t.Errorf("claim %d: %+v, %v", i, rec, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func claimOf(i int) once.Claim {
	return once.Claim{
		Key:   once.Key{Scope: "test", ID: fmt.Sprint(i)},
		Owner: once.Owner{byte(i + 1)},
		Lease: time.Minute,
	}
}
