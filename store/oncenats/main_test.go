package oncenats_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/store/oncenats"
)

func TestMain(m *testing.M) {
	if node := os.Getenv(nodeEnv); node != "" {
		if err := serve(node); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	processes.Work(func(ctx context.Context, dsn string) (processes.Store, error) {
		return oncenats.Open(ctx, patient(oncenats.Config{DSN: dsn}))
	})
	os.Exit(m.Run())
}
