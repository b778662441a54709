package onceredis_test

import (
	"flag"
	"testing"
	"time"

	"github.com/oncehq/once/internal/check/linear"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

var linearCalls = flag.Int("linear", 3000, "how many verbs the check for linearizability carries out")

// Verbs are atomic, whatever becomes of the connections.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	p := servers.NewProxy(t, r.Addr)
	s := open(t, onceredis.Config{DSN: "redis://" + p.Addr})
	linear.Check(t, s, linear.Options{Calls: *linearCalls, Disturb: linear.Cutting(p, 30*time.Millisecond)})
	if p.Faults() == 0 {
		t.Error("no request met a fault")
	}
}
