package check

import (
	"flag"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

var misfortunes = flag.Int(
	"misfortunes", defaultMisfortunes, "how many misfortunes a history may have")

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // histories are short-lived
	m.Run()
}

// TestExhaustive goes through every history of every study with up to -misfortunes misfortunes.
func TestExhaustive(t *testing.T) {
	start := time.Now()
	var all exploration
	var mu sync.Mutex
	t.Cleanup(func() {
		t.Logf("%d histories in %d runs through %d states, in %v", all.histories, all.runs, all.states,
			time.Since(start).Round(time.Millisecond))
	})
	for _, s := range studies() {
		for _, sc := range s.policies() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				x := explored(t, s, sc, *misfortunes)
				took := time.Since(start)
				t.Logf("%d histories in %d runs of %d steps through %d states, in %v: %.0f runs a second",
					x.histories, x.runs, x.steps, x.states, took.Round(time.Millisecond),
					float64(x.runs)/took.Seconds())
				if x.violation != nil {
					t.Fatalf("%v\n%s", x.violation, x.log)
				}
				mu.Lock()
				defer mu.Unlock()
				all.histories = sum(all.histories, x.histories)
				all.runs += x.runs
				all.states += x.states
			})
		}
	}
}

// explorations are kept for the tests that look at them again.
var explorations struct {
	sync.Mutex
	m map[string]*exploration
}

func explored(t *testing.T, s study, sc *scenario, misfortunes int) *exploration {
	t.Helper()
	if s.heavy && race {
		misfortunes = 0
	}
	key := sc.name + string(rune('0'+misfortunes))
	explorations.Lock()
	x := explorations.m[key]
	explorations.Unlock()
	if x != nil {
		return x
	}
	x = explore(t, sc, s.in(), misfortunes)
	explorations.Lock()
	defer explorations.Unlock()
	if explorations.m == nil {
		explorations.m = make(map[string]*exploration)
	}
	explorations.m[key] = x
	return x
}
