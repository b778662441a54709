package check

import (
	"strings"
	"testing"
	"testing/synctest"
)

// explain runs a history again and tells it step by step.
func explain(t *testing.T, sc *scenario, e engine, choose chooser) string {
	t.Helper()
	var log strings.Builder
	synctest.Test(t, func(*testing.T) {
		defer e.end()
		w := newWorld(sc, e)
		w.log = &log
		w.run(choose)
		if w.violation != nil {
			w.logf("%v", w.violation)
			w.flush()
		}
	})
	return log.String()
}
