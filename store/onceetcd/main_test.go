package onceetcd_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// The test binary, started again with this in its environment, is an etcd server.
const serverEnv = "ONCEETCD_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		etcdmain.Main(os.Args)
		return
	}
	processes.Work(func(ctx context.Context, dsn string) (processes.Store, error) {
		return onceetcd.Open(ctx, onceetcd.Config{DSN: dsn})
	})
	os.Exit(m.Run())
}

// etcd runs the real thing, of the version that go.mod names.
var etcd servers.EtcdProgram = func(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), serverEnv+"=1", "GOMAXPROCS=2")
	return cmd
}
