package oncenats_test

import (
	"flag"
	"testing"

	"github.com/oncehq/once/internal/check/linear"
	"github.com/oncehq/once/store/oncenats"
)

var calls = flag.Int("calls", 2000, "how many verbs the histories have that are checked to be linearizable")

func TestHistoriesAreLinearizableOnOneServer(t *testing.T) {
	t.Parallel()
	linear.Check(t, open(t, oncenats.Config{DSN: startMigrated(t).dsn()}), linear.Options{Calls: *calls})
}

func TestHistoriesAreLinearizableInACluster(t *testing.T) {
	t.Parallel()
	all := startCluster(t, 3)
	linear.Check(t, open(t, oncenats.Config{DSN: clusterDSN(all)}), linear.Options{Calls: *calls})
}
