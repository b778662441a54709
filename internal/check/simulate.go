package check

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// A simulation is one long history of which everything is chosen by chance: who asks for what,
// from which processes, over which kind of store, and all that happens. Time passes in it: leases
// are renewed, callers wait for each other and work for longer than a lease. The same seed gives
// the same history.
type simulation struct {
	rnd     *rand.Rand
	sc      *scenario
	weights [kinds]int
	storm   int // so many choices are made before the misfortunes end
	choices int
}

// enough is how many choices a history takes at most once nothing goes wrong any more: callers
// that have not come to their end by then never will.
const enough = 3000

// simulate runs the history of the seed, with or without a mistake in it.
func simulate(t *testing.T, seed uint64, m mutant, log *strings.Builder) *world {
	t.Helper()
	var w *world
	synctest.Test(t, func(*testing.T) {
		s := newSimulation(seed, m)
		w = newWorld(s.sc, goroutines{})
		w.log = log
		if log != nil {
			w.logf("%+v", *s.sc)
			w.flush()
		}
		w.run(s.choose)
		time.Sleep(20 * lease) // callers of processes that have crashed wake up and end
		if log != nil && w.violation != nil {
			w.logf("%v", w.violation)
			w.flush()
		}
	})
	return w
}

func newSimulation(seed uint64, m mutant) *simulation {
	s := &simulation{rnd: rand.New(rand.NewPCG(seed, 0))}
	sc := &scenario{timed: true, mutant: m, policy: once.Hold}
	if s.rnd.IntN(2) == 0 {
		sc.policy = once.Rerun
	}
	s.sc = sc
	s.people(m.guard != nil)
	s.climate()
	s.store()
	s.sc = sc.withDefaults()
	return s
}

// people chooses who asks for what, in which processes.
func (s *simulation) people(plain bool) {
	sc := s.sc
	keys := []once.Key{{Scope: "shop", ID: "a"}, {Scope: "bank", ID: "a"}, {Scope: "shop", ID: "b"}}
	keys = keys[:1+s.rnd.IntN(3)]
	processes := 0
	for range 2 + s.rnd.IntN(3) {
		var calls []call
		for range 1 + s.rnd.IntN(2) {
			calls = append(calls, s.call(keys[s.rnd.IntN(len(keys))], plain))
		}
		sc.calls = append(sc.calls, calls)
		if processes == 0 || s.rnd.IntN(3) > 0 {
			processes++
		}
		sc.process = append(sc.process, processes-1)
	}
	sc.endings = []ending{succeeds}
	for e := fails; e <= giveUp; e++ {
		if s.rnd.IntN(3) == 0 {
			sc.endings = append(sc.endings, e)
		}
	}
	if s.rnd.IntN(2) == 0 {
		sc.wait = []time.Duration{time.Minute, lease, 10 * lease}[s.rnd.IntN(3)]
	}
	sc.attempts = 1 + s.rnd.IntN(4)
}

func (s *simulation) call(k once.Key, plain bool) call {
	c := call{key: k, body: 1}
	switch s.rnd.IntN(8) {
	case 0:
		c.body = 2
	case 1:
		c.body = 0
	}
	if plain {
		return c
	}
	switch s.rnd.IntN(6) {
	case 0:
		c.lock = true
	case 1:
		c.steps = []string{"x", "y"}[:1+s.rnd.IntN(2)]
	}
	if s.rnd.IntN(3) == 0 {
		c.works = []time.Duration{time.Minute, lease / 2, lease * 3 / 2}[s.rnd.IntN(3)]
		c.heeds = s.rnd.IntN(2) == 0
	}
	return c
}

// climate chooses how much goes wrong, and how likely each thing is.
func (s *simulation) climate() {
	some := s.rnd.IntN(7)
	s.sc.limits = limits{
		misfortunes: some, faults: some, late: some, crashes: some, expiries: some,
		retirements: some, hangUps: some, operators: some, partings: some, powerCuts: some,
		endings: s.rnd.IntN(3), passes: unlimited,
	}
	s.weights = [kinds]int{begin: 20, grants: 40, deliver: 10, join: 2, pass: 5}
	for k := range kinds {
		if s.weights[k] == 0 {
			s.weights[k] = []int{0, 0, 1, 4, 12}[s.rnd.IntN(5)]
		}
	}
	s.storm = 20 + s.rnd.IntN(60)
	// Odd numbers of nanoseconds, so that timers set at different times fire at different times,
	// and in an order that does not depend on chance.
	s.sc.passages = []time.Duration{time.Second + 101, lease/24 + 1009, lease/3 + 10007, lease + 100003}
}

// store chooses the store's clock and what it can do.
func (s *simulation) store() {
	sc := s.sc
	sc.waiter = s.rnd.IntN(2) == 0
	sc.transactional = s.rnd.IntN(8) == 0
	if sc.transactional {
		sc.endings = []ending{succeeds, nothing, unclear, rollsBack}
		sc.limits.late = 0 // a verb is lost with its connection
	}
	if s.rnd.IntN(2) == 0 {
		sc.rate = 0.97 + 0.06*s.rnd.Float64()
	}
	if s.rnd.IntN(4) == 0 && sc.rate <= 1 {
		// A cache is as good as its process's clock.
		sc.cache, sc.limits.retirements, sc.limits.expiries = 1<<20, 0, 0
	}
	if s.rnd.IntN(2) == 0 {
		sc.retention = 2 * lease
	}
}

// choose is the simulation's chooser.
func (s *simulation) choose(w *world, opts []option) int {
	s.choices++
	if s.choices == s.storm {
		w.left.misfortunes, w.left.endings = 0, 0
		s.weights[join] = 40
	}
	if s.choices == s.storm+enough {
		w.violate(10, "after %d choices without misfortune there are still callers that have not ended",
			enough)
		return -1
	}
	total := 0
	for _, o := range opts {
		total += s.weight(o)
	}
	if total == 0 {
		return s.rnd.IntN(len(opts))
	}
	n := s.rnd.IntN(total)
	for i, o := range opts {
		if n -= s.weight(o); n < 0 {
			return i
		}
	}
	panic("unreachable")
}

// weight is how likely an option is. Long times pass more rarely than short ones.
func (s *simulation) weight(o option) int {
	switch {
	case o.kind == pass:
		return s.weights[pass] * 4 / (1 + o.n)
	case o.kind == grants && o.req.verb == effect && ending(o.n) != s.sc.endings[0]:
		return s.weights[grants] / 4
	}
	return s.weights[o.kind]
}
