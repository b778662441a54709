package onceredis_test

import (
	"context"
	"os"
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

func TestMain(m *testing.M) {
	processes.Work(func(ctx context.Context, dsn string) (processes.Store, error) {
		return onceredis.Open(ctx, onceredis.Config{DSN: dsn})
	})
	os.Exit(m.Run())
}

func TestOneExecutionInManyProcesses(t *testing.T) {
	t.Parallel()
	processes.TestOneExecution(t, dsn(servers.Redis(t)))
}

func TestOperationsOfAKilledProcessAreTakenOver(t *testing.T) {
	t.Parallel()
	dsn := dsn(servers.Redis(t))
	processes.TestTakeover(t, dsn, func() processes.Store { return open(t, onceredis.Config{DSN: dsn}) })
}
