//go:build linux

package powercut_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/outage/powercut"
	"github.com/oncehq/once/store/oncenats"
)

func TestNATS(t *testing.T) {
	runAll(t,
		setting{name: "sync always", start: onNATS(true), durable: true, disk: inOrder},
		setting{name: "sync every two minutes", start: onNATS(false), disk: inOrder},
		setting{name: "on a disk that lies", start: onNATS(true), disk: lies, rare: true},
	)
}

// inOrder is for NATS: where a name is only safe when its directory was synced, it forgets
// everything, however often it syncs its files.
var inOrder = powercut.Options{NamesInOrder: true}

// A nats is a server in a process of its own: the program is this test's.
type nats struct {
	Dir        string
	Port, HTTP int
	Always     bool // sync

	cmd *exec.Cmd
}

func onNATS(always bool) func(*testing.T) system {
	return func(t *testing.T) system {
		n := &nats{Dir: filepath.Join(os.TempDir(), "nats"), Always: always, Port: freePort(t), HTTP: freePort(t)}
		t.Cleanup(n.kill)
		n.start(t)
		if err := oncenats.Migrate(t.Context(), n.config()); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (n *nats) config() oncenats.Config {
	return oncenats.Config{
		DSN:     fmt.Sprintf("nats://127.0.0.1:%d", n.Port),
		Monitor: []string{fmt.Sprintf("http://127.0.0.1:%d", n.HTTP)},
	}
}

// serve is what the process does until it is killed.
func (n *nats) serve(config string) error {
	if err := json.Unmarshal([]byte(config), n); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n.Port, HTTPHost: "127.0.0.1", HTTPPort: n.HTTP,
		JetStream: true, StoreDir: n.Dir, SyncAlways: n.Always, NoSigs: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("not ready after a minute")
	}
	s.WaitForShutdown()
	return nil
}

func (n *nats) start(t *testing.T) {
	t.Helper()
	config, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), childDSN+"=nats:"+string(config))
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.Port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (n *nats) kill() {
	n.cmd.Process.Kill()
	n.cmd.Wait()
}

func (n *nats) open(t *testing.T) (once.Store, func() error) {
	t.Helper()
	s, err := oncenats.Open(t.Context(), n.config())
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Close
}

func (n *nats) load(ctx context.Context, t *testing.T, round string, l *ledger) func() {
	return loadFromHere(ctx, t, n, round, l)
}
