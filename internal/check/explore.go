package check

import (
	"math/bits"
	"testing"
	"testing/synctest"
	"time"
)

// An exploration goes through every history of a scenario.
//
// A history is a sequence of choices. Callers cannot be set back, so that each run of the world
// starts from nothing, repeats the choices of the run before up to the last one that has an
// alternative, and goes on from there: a depth-first search without saved states.
//
// Two histories that reach the same state have the same continuations, and the same verdicts on
// them. So a run is broken off when it reaches a state that was left for good before, and the
// number of histories that lead on from there is taken from memory. That all of a state is in
// its digest is what this rests on; a test compares the search with one that remembers nothing.
type exploration struct {
	sc     *scenario
	engine engine
	naive  bool          // remember nothing
	skew   time.Duration // by which all clients' clocks are fast
	max    int           // give up after so many runs; zero: never

	path []turnout
	memo map[digest]uint64

	finished  bool
	histories uint64 // all of them, most of which share their steps with others
	runs      int
	states    int
	steps     int
	looked    [len(invariants)]int
	violation *violation
	log       string // of the history with the violation
}

// A turnout is a state on the path that the search is on.
type turnout struct {
	state   digest
	options int
	taken   int
	beyond  uint64 // histories through the options that are done with
}

// perBubble is how many runs share a bubble. Timers that the guards set, and that never fire, are
// freed with it.
const perBubble = 2000

// explore goes through all histories of the scenario, or up to the first violation.
func explore(t *testing.T, sc *scenario, e engine, misfortunes int) *exploration {
	x := &exploration{sc: sc.withDefaults(), engine: e}
	if most := sc.limits.misfortunes; most > 0 {
		misfortunes = min(misfortunes, most)
	}
	x.sc.limits.misfortunes = misfortunes
	x.search(t)
	return x
}

func (x *exploration) search(t *testing.T) {
	t.Helper()
	x.memo = make(map[digest]uint64)
	more := true
	for more && x.violation == nil {
		synctest.Test(t, func(*testing.T) {
			defer x.engine.end()
			time.Sleep(x.skew)
			for n := 0; n < perBubble && more && x.violation == nil; n++ {
				more = x.once()
			}
		})
		if x.max > 0 && x.runs >= x.max {
			break
		}
	}
	x.finished = !more
	if x.violation != nil {
		x.log = explain(t, x.sc, x.engine, replay(x.choices()))
	}
}

// once runs one history, or the part of one that is new, and reports whether there are more.
func (x *exploration) once() bool {
	x.runs++
	depth := 0
	known := uint64(0) // histories beyond a state that is known
	w := newWorld(x.sc, x.engine)
	complete := w.run(func(w *world, opts []option) int {
		x.steps++
		if len(opts) == 1 {
			return 0
		}
		if depth == len(x.path) {
			t := turnout{options: len(opts)}
			if !x.naive {
				t.state = w.digest()
				if n, ok := x.memo[t.state]; ok {
					known = n
					return -1
				}
			}
			x.path = append(x.path, t)
		}
		t := &x.path[depth]
		if t.options != len(opts) {
			panic("check: the same choices led to another state: the search is not deterministic")
		}
		depth++
		w.proven = depth < len(x.path)
		return t.taken
	})
	for i, n := range w.looked {
		x.looked[i] += n
	}
	if x.violation = w.violation; x.violation != nil {
		return false
	}
	if complete {
		known = 1
	}
	return x.back(known)
}

// back goes back to the last state with an option that was not taken, and takes it. The given
// number of histories lie beyond the option that was taken last.
func (x *exploration) back(histories uint64) bool {
	for len(x.path) > 0 {
		t := &x.path[len(x.path)-1]
		t.beyond = sum(t.beyond, histories)
		if t.taken++; t.taken < t.options {
			return true
		}
		histories = t.beyond
		x.states++
		if !x.naive {
			x.memo[t.state] = histories
		}
		x.path = x.path[:len(x.path)-1]
	}
	x.histories = histories
	return false
}

// sum adds, up to the greatest number.
func sum(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return 1<<64 - 1
	}
	return s
}

func (x *exploration) choices() []int {
	var choices []int
	for _, t := range x.path {
		choices = append(choices, t.taken)
	}
	return choices
}

// replay makes choices that were made before.
func replay(choices []int) chooser {
	return func(_ *world, opts []option) int {
		if len(opts) == 1 {
			return 0
		}
		if len(choices) == 0 {
			return -1
		}
		c := choices[0]
		choices = choices[1:]
		return c
	}
}
