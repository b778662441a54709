package onceetcd_test

import (
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

func TestOneExecutionInManyProcesses(t *testing.T) {
	t.Parallel()
	processes.TestOneExecution(t, dsn(servers.Etcd(t, etcd)))
}

func TestOperationsOfAKilledProcessAreTakenOver(t *testing.T) {
	t.Parallel()
	dsn := dsn(servers.Etcd(t, etcd))
	processes.TestTakeover(t, dsn, func() processes.Store { return open(t, onceetcd.Config{DSN: dsn}) })
}
