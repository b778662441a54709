package oncenats_test

import (
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/store/oncenats"
)

func TestOneExecutionInManyProcesses(t *testing.T) {
	t.Parallel()
	processes.TestOneExecution(t, nodesDSN(startNodes(t, 1, false)))
}

func TestOperationsOfAKilledProcessAreTakenOver(t *testing.T) {
	t.Parallel()
	dsn := nodesDSN(startNodes(t, 1, false))
	processes.TestTakeover(t, dsn, func() processes.Store { return open(t, oncenats.Config{DSN: dsn}) })
}
