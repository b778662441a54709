package onceetcd_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/oncehq/once/internal/servers"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// The test binary, started again with these in its environment, is an etcd server, or another
// process that uses the same store.
const (
	serverEnv = "ONCEETCD_TEST_SERVER"
	workerEnv = "ONCEETCD_TEST_WORKER"
)

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		etcdmain.Main(os.Args)
		return
	}
	if dsn := os.Getenv(workerEnv); dsn != "" {
		if err := work(dsn, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// etcd runs the real thing, of the version that go.mod names.
var etcd servers.EtcdProgram = func(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), serverEnv+"=1", "GOMAXPROCS=2")
	return cmd
}
