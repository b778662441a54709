package check

import (
	"flag"
	"runtime/debug"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // histories are short-lived
	m.Run()
}

var misfortunes = flag.Int("misfortunes", defaultMisfortunes, "how many misfortunes a history may have")

func TestExhaustive(t *testing.T) {
	for _, s := range studies() {
		for _, sc := range s.policies() {
			t.Run(sc.name, func(t *testing.T) {
				start := time.Now()
				x := explore(t, sc, s.in(), *misfortunes)
				took := time.Since(start)
				if !x.finished {
					t.Error("did not finish")
				}
				t.Logf("%d histories in %d runs of %d steps, %d states, in %v: %.0f runs/s",
					x.histories, x.runs, x.steps, x.states, took.Round(time.Millisecond),
					float64(x.runs)/took.Seconds())
				if x.violation != nil {
					t.Fatalf("%v\n%s", x.violation, x.log)
				}
			})
		}
	}
}
