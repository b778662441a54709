package oncenats_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncenats"
)

func TestMain(m *testing.M) {
	processes.Work(func(ctx context.Context, dsn string) (processes.Store, error) {
		return oncenats.Open(ctx, patient(oncenats.Config{DSN: dsn}))
	})
	flag.Parse()
	if *records == 0 && flag.Lookup("test.bench").Value.String() == "" {
		os.Setenv("TMPDIR", servers.Memory())
		flag.Set("test.parallel", "8") // most of the time they wait
	}
	os.Exit(m.Run())
}
