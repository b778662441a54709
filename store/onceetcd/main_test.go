package onceetcd_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

func TestMain(m *testing.M) {
	processes.Work(func(ctx context.Context, dsn string) (processes.Store, error) {
		return onceetcd.Open(ctx, onceetcd.Config{DSN: dsn})
	})
	flag.Parse()
	if *records <= fewRecords && flag.Lookup("test.bench").Value.String() == "" {
		os.Setenv("TMPDIR", servers.Memory())
		flag.Set("test.parallel", "8") // most of the time they wait
	}
	os.Exit(m.Run())
}

// program is the real thing, of the version that go.mod names, and without the race detector, with
// which it is ten times slower. It is built if that was not done before.
var program = sync.OnceValue(func() string {
	out, err := exec.Command("go", "tool", "-n", "go.etcd.io/etcd/server/v3").Output()
	if err != nil {
		panic(fmt.Sprintf("etcd cannot be built: %v", err))
	}
	return strings.TrimSpace(string(out))
})

var etcd servers.EtcdProgram = func(args ...string) *exec.Cmd {
	cmd := exec.Command(program(), args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	return cmd
}
