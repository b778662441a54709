//go:build linux

package powercut_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

func TestEtcd(t *testing.T) {
	runAll(t,
		setting{name: "defaults", start: onEtcd(), durable: true},
		setting{name: "unsafe-no-fsync", start: onEtcd("--unsafe-no-fsync"), hidden: true},
		setting{name: "on a disk that lies", start: onEtcd(), disk: lies, rare: true},
	)
}

// An etcd is a server in a process of its own: the program is this test's.
type etcd struct{ *servers.EtcdServer }

func onEtcd(flags ...string) func(*testing.T) system {
	return func(t *testing.T) system {
		return etcd{servers.Etcd(t, func(args ...string) *exec.Cmd {
			cmd := exec.Command(os.Args[0], args...)
			cmd.Env = append(os.Environ(), childDSN+"=etcd")
			return cmd
		}, append(flags, "--snapshot-count=200")...)}
	}
}

func (e etcd) start(t *testing.T) { e.Restart(t) }
func (e etcd) kill()              { e.Kill() }

func (e etcd) open(t *testing.T) (once.Store, func() error) {
	t.Helper()
	s, err := onceetcd.Open(t.Context(), onceetcd.Config{DSN: "etcd://" + e.Addr})
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Close
}

func (e etcd) load(ctx context.Context, t *testing.T, round string, l *ledger) func() {
	return loadFromHere(ctx, t, e, round, l)
}
