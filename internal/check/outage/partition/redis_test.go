//go:build linux

package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	masterPort   = 6379 // on side A; the replicas' ports follow, on side B
	sentinelPort = 26379
	set          = "once" // the name by which the sentinels know the servers
)

// TestRedisPartedFromItsReplicas parts the master and a client from all others, who elect a new
// master. Both sides then claim the same operations.
func TestRedisPartedFromItsReplicas(t *testing.T) {
	t.Run("the master's word is enough", func(t *testing.T) {
		t.Parallel()
		claimed, twice := partRedis(t, "")
		if twice == 0 {
			t.Errorf("none of %d operations was claimed twice: there was no partition", claimed)
		}
	})
	t.Run("MinReplicas 1", func(t *testing.T) {
		t.Parallel()
		claimed, twice := partRedis(t, "min_replicas=1&min_replicas_timeout=200ms&")
		if twice > 0 {
			t.Errorf("%d of %d operations were claimed twice", twice, claimed)
		}
	})
}

func partRedis(t *testing.T, params string) (claimed, twice int) {
	n := New(t)
	startRedisSet(t, n)
	sentinels := fmt.Sprintf("redis+sentinel://%s:%d/%s?%stimeout=1s", B.Addr(), sentinelPort, set, params)
	// The client on the master's side knows it by its address: it has nobody else to ask.
	a := newClaimer(t, n, A, fmt.Sprintf("redis://%s:%d?%stimeout=1s", A.Addr(), masterPort, params), cutOff)
	b := newClaimer(t, n, B, sentinels, patient)
	before, during := names("before"), names("during")
	if won := a.claim(t, before); len(won) != len(before) {
		t.Fatalf("before the partition only %d of %d claims won", len(won), len(before))
	}
	n.Cut(t)
	wonByA := a.claim(t, during)
	eventually(t, "the other side has a new master", func() error {
		return isMaster(n, B, masterPort+1, masterPort+2)
	})
	// The claims from before the cut had all the time to reach the replicas.
	if won := b.claim(t, before); len(won) > 0 {
		t.Errorf("%d operations that were claimed before the partition were claimed again", len(won))
	}
	wonByB := b.claim(t, during)
	if len(wonByB) != len(during) {
		t.Errorf("the side with the new master won only %d of %d claims", len(wonByB), len(during))
	}
	t.Logf("parted: the old master's side won %d, the new one's %d, both %d",
		len(wonByA), len(wonByB), both(wonByA, wonByB))
	return len(during), both(wonByA, wonByB)
}

// startRedisSet starts a master on side A, and two replicas and three sentinels on side B.
func startRedisSet(t *testing.T, n *Network) {
	t.Helper()
	startRedis(t, n, A, masterPort)
	for i := range 2 {
		startRedis(t, n, B, masterPort+1+i, "--replicaof", A.Addr(), fmt.Sprint(masterPort))
		eventually(t, "a replica follows the master", func() error {
			return says(n, B, masterPort+1+i, "replication", "master_link_status:up")
		})
	}
	for i := range 3 {
		startSentinel(t, n, sentinelPort+i)
	}
	for i := range 3 {
		eventually(t, "a sentinel knows everybody", func() error {
			return says(n, B, sentinelPort+i, "sentinel", "status=ok,address="+A.Addr()+":6379,slaves=2,sentinels=3")
		})
	}
}

func startRedis(t *testing.T, n *Network, side Side, port int, more ...string) {
	t.Helper()
	Start(t, n.Command(side, "redis-server", append([]string{
		"--port", fmt.Sprint(port), "--bind", side.Addr(), "--dir", t.TempDir(), "--protected-mode", "no",
		"--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0",
	}, more...)...))
	eventually(t, "redis-server answers", func() error { return says(n, side, port, "server", "redis_version") })
}

func startSentinel(t *testing.T, n *Network, port int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	ok(t, os.WriteFile(file, []byte(strings.Join([]string{
		fmt.Sprint("port ", port), "bind " + B.Addr(), "protected-mode no",
		fmt.Sprintf("sentinel monitor %s %s %d 2", set, A.Addr(), masterPort),
		"sentinel down-after-milliseconds " + set + " 1000", "",
	}, "\n")), 0o644))
	Start(t, n.Command(B, "redis-server", file, "--sentinel"))
}

// info returns what the server says of itself.
func info(n *Network, side Side, port int, section string) (string, error) {
	return run(n.Command(side, "redis-cli", "-h", side.Addr(), "-p", fmt.Sprint(port), "info", section))
}

func says(n *Network, side Side, port int, section, text string) error {
	out, err := info(n, side, port, section)
	if err == nil && !strings.Contains(out, text) {
		err = errors.New("it says " + out)
	}
	return err
}

func isMaster(n *Network, side Side, ports ...int) error {
	var errs []error
	for _, port := range ports {
		err := says(n, side, port, "replication", "role:master")
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
