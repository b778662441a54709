package oncepg_test

import (
	"flag"
	"testing"
	"time"

	"github.com/oncehq/once/internal/check/linear"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

var linearCalls = flag.Int("linear", 2000, "how many verbs the check for linearizability carries out")

// Verbs are atomic, whatever becomes of the connections.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	server := servers.Postgres(t)
	cfg := migrated(t, oncepg.Config{DSN: server.DSN, Sweep: -1})
	p := servers.NewProxy(t, server.Addr)
	cfg.DSN = "postgres://postgres@" + p.Addr + "/postgres?sslmode=disable"
	s := open(t, cfg)
	linear.Check(t, s, linear.Options{Calls: *linearCalls, Disturb: linear.Cutting(p, 200*time.Millisecond)})
	if p.Faults() == 0 {
		t.Error("no request met a fault")
	}
}
