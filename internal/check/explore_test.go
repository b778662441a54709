package check

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestMemoryChangesNothing goes through scenarios twice, once without remembering any state: both
// searches must find the same number of histories. That is what the pruned search rests on.
func TestMemoryChangesNothing(t *testing.T) {
	for _, s := range studies() {
		for _, sc := range s.policies() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				quick := explored(t, s, sc, repeated)
				if quick.histories > uint64(naively) {
					t.Skipf("%d histories are too many to go through one by one", quick.histories)
				}
				slow := &exploration{sc: quick.sc, engine: s.in(), naive: true}
				slow.search(t)
				if slow.histories != quick.histories || slow.violation != nil {
					t.Errorf("with a memory there are %d histories, without one %d (%v)",
						quick.histories, slow.histories, slow.violation)
				}
				t.Logf("%d histories; %d runs with a memory, %d without", slow.histories, quick.runs, slow.runs)
			})
		}
	}
}

// TestEnginesAgree goes through scenarios in coroutines and in goroutines: they must find the same
// histories through the same states.
func TestEnginesAgree(t *testing.T) {
	for _, s := range studies() {
		if s.limits.passes > 0 || s.process != nil {
			continue // only goroutines can
		}
		for _, sc := range s.policies() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				a := explored(t, s, sc, repeated)
				if a.runs > otherwise {
					t.Skipf("%d runs are too many for goroutines", a.runs)
				}
				b := explore(t, sc, inGoroutines(), repeated)
				if a.histories != b.histories || a.sum() != b.sum() {
					t.Errorf("coroutines found %d histories through %d states, goroutines %d through %d",
						a.histories, a.states, b.histories, b.states)
				}
			})
		}
	}
}

// TestClocksDoNotMatter goes through scenarios at other times of day, by the clocks of all
// clients: the histories and states must be the same.
func TestClocksDoNotMatter(t *testing.T) {
	for _, s := range studies() {
		for _, sc := range s.policies() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				right := explored(t, s, sc, repeated)
				if right.runs > otherwise {
					t.Skipf("%d runs are too many to do again", right.runs)
				}
				late := &exploration{sc: right.sc, engine: s.in(), skew: time.Hour}
				late.search(t)
				if right.histories != late.histories || right.sum() != late.sum() {
					t.Errorf("there are %d histories through %d states, and with clocks an hour fast %d through %d",
						right.histories, right.states, late.histories, late.states)
				}
			})
		}
	}
}

// sum combines the states that the search has left.
func (x *exploration) sum() digest {
	var all digest
	for d, n := range x.memo {
		all.a += d.a * n
		all.b += d.b * n
	}
	return all
}

// TestReplay checks that the choices of a history lead through the same history again.
func TestReplay(t *testing.T) {
	sc := studies()[0].policies()[0].withDefaults()
	sc.limits.misfortunes = 2
	synctest.Test(t, func(t *testing.T) {
		e := inCoroutines()
		defer e.end()
		var choices []int
		var states [2][]digest
		record := func(w *world, opts []option) int {
			states[0] = append(states[0], w.digest())
			i := len(opts) / 2
			if len(opts) > 1 {
				choices = append(choices, i)
			}
			return i
		}
		newWorld(sc, e).run(record)
		again := replay(choices)
		newWorld(sc, e).run(func(w *world, opts []option) int {
			states[1] = append(states[1], w.digest())
			return again(w, opts)
		})
		if len(states[0]) != len(states[1]) || states[0][len(states[0])-1] != states[1][len(states[1])-1] {
			t.Errorf("%d states became %d", len(states[0]), len(states[1]))
		}
	})
}
