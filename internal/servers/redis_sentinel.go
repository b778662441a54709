package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A RedisSentinelSet is a master with two replicas, watched by three sentinels.
type RedisSentinelSet struct {
	Name      string // of the set, as the sentinels know it
	Master    *RedisServer
	Replicas  [2]*RedisServer // until the first failover
	Sentinels [3]*RedisServer
}

// RedisSentinel starts such a set. A master that does not answer for half a second is replaced
// by a replica. The settings are the data servers', as for [Redis].
func RedisSentinel(t testing.TB, settings ...string) *RedisSentinelSet {
	t.Helper()
	s := &RedisSentinelSet{Name: "once", Master: Redis(t, settings...)}
	for i := range s.Replicas {
		follow := "replicaof 127.0.0.1 " + redisPort(s.Master.Addr)
		s.Replicas[i] = Redis(t, append(settings, follow)...)
	}
	for _, r := range s.Replicas {
		until(t, "a replica is connected to its master", func() error {
			role, err := redisCommand(r.Addr, "INFO", "replication")
			if err == nil && !strings.Contains(role, "master_link_status:up") {
				err = errors.New(role)
			}
			return err
		})
	}
	for i := range s.Sentinels {
		s.Sentinels[i] = newSentinel(t, s.Name, s.Master)
	}
	for _, n := range s.Sentinels {
		until(t, "a sentinel knows all servers", func() error { return s.known(n) })
	}
	return s
}

func newSentinel(t testing.TB, name string, master *RedisServer) *RedisServer {
	t.Helper()
	path := redisProgram(t)
	const tries = 5
	for try := 1; ; try++ {
		port := freePort(t)
		s := &RedisServer{Addr: local(port), Dir: t.TempDir()}
		file := filepath.Join(s.Dir, "sentinel.conf")
		lines := []string{
			fmt.Sprintf("port %d", port), "bind 127.0.0.1", "protected-mode no", "dir " + s.Dir,
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", name, redisPort(master.Addr)),
			fmt.Sprintf("sentinel down-after-milliseconds %s 500", name),
			fmt.Sprintf("sentinel failover-timeout %s 10000", name),
		}
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
			t.Fatal("servers: sentinel: ", err)
		}
		s.Process = newProcess(t, fmt.Sprintf("sentinel-%d", port), s.Dir, func() *exec.Cmd {
			return exec.Command(path, file, "--sentinel")
		})
		err := s.start(s.ready)
		if err == nil {
			return s
		}
		if try == tries {
			t.Fatal(err)
		}
	}
}

// known checks that the sentinel knows the replicas and the other sentinels.
func (s *RedisSentinelSet) known(sentinel *RedisServer) error {
	info, err := redisCommand(sentinel.Addr, "INFO", "sentinel")
	if err == nil && !strings.Contains(info, "status=ok") ||
		!strings.Contains(info, ",slaves=2,sentinels=3") {
		err = fmt.Errorf("it knows:\n%s", info)
	}
	return err
}

// Addrs returns the addresses of the sentinels, separated by commas.
func (s *RedisSentinelSet) Addrs() string { return addrs(s.Sentinels[:]) }
