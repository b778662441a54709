package oncesql_test

import (
	"context"
	"testing"
	"time"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/store/oncesql"
)

// openWorker opens the store in another process.
func openWorker(ctx context.Context, dsn string) (processes.Store, error) {
	return oncesql.Open(ctx, oncesql.Config{DSN: dsn, Sweep: -1, Timeout: time.Minute})
}

func TestOneExecutionInManyProcesses(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		processes.TestOneExecution(t, migrated(t, cfg).DSN)
	})
}

func TestOperationsOfAKilledProcessAreTakenOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		processes.TestTakeover(t, migrated(t, cfg).DSN, func() processes.Store { return open(t, cfg) })
	})
}
