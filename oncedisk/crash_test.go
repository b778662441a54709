package oncedisk

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

var (
	crashHistories = flag.Int("oncedisk.histories", 1, "random histories of the crash tests")
	crashSeed      = flag.Uint64("oncedisk.seed", 0, "repeat the crash test of this seed alone")
)

// At every change to the file system of a history, the power fails, or the process is killed; what
// could be left is opened, and must be what was acknowledged.
func TestNothingAcknowledgedIsLostWhereverItStops(t *testing.T) {
	t.Parallel()
	// The seeds from 1 on are the same in each run, and each history is cut at every step.
	for seed := uint64(1); seed <= 2; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashEverywhere(t, seed) })
	}
	if *crashSeed != 0 {
		t.Run("given", func(t *testing.T) { crashEverywhere(t, *crashSeed) })
		return
	}
	for range *crashHistories {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashEverywhere(t, seed) })
	}
}

func crashEverywhere(t *testing.T, seed uint64) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Logf("repeat with -oncedisk.seed=%d", seed)
		h := newHistory(t, seed)
		m := newMemory()
		s := small.on(t, m, nil)
		dice := rand.New(rand.NewPCG(seed, 1))
		steps := 0
		m.onStep(func(op, name string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			steps++
			if !t.Failed() {
				h.survives(m.crash(nil), dice, fmt.Sprintf("killed before %s of %s, step %d", op, name, steps), 1)
				h.survives(m.crash(dice), dice, fmt.Sprintf("no power before %s of %s, step %d", op, name, steps), 1)
			}
			return nil
		})
		for range 70 {
			if err := h.run(s); err != nil {
				t.Fatal(err)
			}
		}
		m.onStep(nil)
		t.Logf("%d steps, %d operations", steps, h.keys)
	})
}

// survives opens what is left and checks it, and that it is the same after it was used and opened
// again. Now and then the power fails again while it is being opened.
func (h *history) survives(left *memory, dice *rand.Rand, when string, more int) {
	h.Helper()
	if more > 0 && dice.IntN(10) == 0 {
		left.onStep(func(op, name string) error {
			if dice.IntN(3) == 0 && !h.Failed() {
				h.survives(left.crash(dice), dice, when+", and again before "+op+" of "+name, more-1)
			}
			return nil
		})
	}
	if dice.IntN(2) == 0 {
		left.loseHints()
	}
	cfg := small
	if err := cfg.check(); err != nil {
		h.Fatal(err)
	}
	s, err := open(left, cfg, origin{})
	if err != nil {
		h.Errorf("%s: open: %v", when, err)
		return
	}
	left.onStep(nil)
	if err := h.check(s); err != nil {
		h.Errorf("%s: %v\n%v", when, err, left)
	}
	if dice.IntN(4) == 0 {
		h.goesOn(left, s, dice, when)
		return
	}
	if err := s.Close(); err != nil {
		h.Errorf("%s: close: %v", when, err)
	}
}

// goesOn uses what was left, and opens it again.
func (h *history) goesOn(left *memory, s *Store, dice *rand.Rand, when string) {
	h.Helper()
	k := once.Key{Scope: "another", ID: "one"}
	c := once.Claim{Key: k, Owner: once.NewOwner(), Lease: time.Minute}
	rec, err := s.Claim(h.Context(), c)
	if err != nil || !rec.Won(c) || rec.Fence <= h.fence {
		h.Errorf("%s: claim after it was opened: %v, fence %d after %d", when, err, rec.Fence, h.fence)
	}
	if _, err := s.Sweep(h.Context()); err != nil {
		h.Errorf("%s: sweep: %v", when, err)
	}
	if err := s.Forget(h.Context(), k, c.Owner); err != nil {
		h.Errorf("%s: forget: %v", when, err)
	}
	if dice.IntN(2) == 0 { // else it is killed
		if err := s.Close(); err != nil {
			h.Errorf("%s: close: %v", when, err)
		}
	} else {
		left.mu.Lock()
		next := left.crash(nil)
		left.mu.Unlock()
		if err := s.Close(); err != nil {
			h.Errorf("%s: close: %v", when, err)
		}
		left = next
	}
	s, err = open(left, s.cfg, origin{})
	if err != nil {
		h.Errorf("%s: open a second time: %v", when, err)
		return
	}
	if err := h.check(s); err != nil {
		h.Errorf("%s: opened a second time: %v", when, err)
	}
	if err := s.Close(); err != nil {
		h.Errorf("%s: close: %v", when, err)
	}
}
