package oncesql_test

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once/internal/check/linear"
	"github.com/oncehq/once/internal/servers"
)

var linearCalls = flag.Int("linear", 2000, "how many verbs the check for linearizability carries out")

// Verbs are atomic, whatever becomes of their contexts. There is no connection to cut.
func TestSQLiteIsLinearizable(t *testing.T) {
	t.Parallel()
	s := open(t, migrated(t, sqliteConfig(t)))
	linear.Check(t, s, linear.Options{Calls: *linearCalls})
}

// Verbs are atomic, whatever becomes of the connections.
func TestMariaDBIsLinearizable(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbConfig(t))
	p := servers.NewProxy(t, sharedServer(t).Addr)
	cfg.DSN = strings.Replace(cfg.DSN, sharedServer(t).Addr, p.Addr, 1)
	s := open(t, cfg)
	linear.Check(t, s, linear.Options{Calls: *linearCalls, Disturb: linear.Cutting(p, 100*time.Millisecond)})
	if p.Faults() == 0 {
		t.Error("no request met a fault")
	}
}
