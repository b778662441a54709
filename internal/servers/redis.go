package servers

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A RedisServer is a redis-server process.
type RedisServer struct {
	*Process
	Addr string // host:port
	Dir  string // where its files are
}

// redisDefaults are the settings of every server, before the test's own: no snapshots, but
// an append-only file, so that a killed server comes back with what it has acknowledged, as
// far as a kill is concerned.
var redisDefaults = []string{
	"--bind", "127.0.0.1", "--protected-mode", "no", "--save", "", "--appendonly", "yes",
	"--repl-diskless-sync-delay", "0",
}

// redisProgram returns the path of the server. The environment variable ONCE_REDIS_SERVER names
// another one than Debian's, to test other versions, or Valkey.
func redisProgram(t testing.TB) string {
	t.Helper()
	return program(t, cmp.Or(os.Getenv("ONCE_REDIS_SERVER"), "redis-server"))
}

// Redis starts one server. The settings are as in redis.conf, one each: "maxmemory 10mb".
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	const tries = 5 // somebody else may take the port before the server does
	for try := 1; ; try++ {
		s := newRedis(t, freePort(t), settings...)
		err := s.start(s.ready)
		if err == nil {
			return s
		}
		if try == tries {
			t.Fatal(err)
		}
	}
}

// newRedis returns a server that is not started yet.
func newRedis(t testing.TB, port int, settings ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{Addr: local(port), Dir: t.TempDir()}
	path := redisProgram(t)
	args := append([]string{"--port", strconv.Itoa(port), "--dir", s.Dir}, redisDefaults...)
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, " ")
		args = append(args, "--"+name)
		if value == `""` {
			args = append(args, "")
		} else {
			args = append(args, strings.Fields(value)...)
		}
	}
	s.Process = newProcess(t, fmt.Sprintf("redis-%d", port), s.Dir, func() *exec.Cmd {
		return exec.Command(path, args...)
	})
	return s
}

// ready reports whether the server takes commands, or wants a password first.
func (s *RedisServer) ready() error {
	reply, err := redisCommand(s.Addr, "PING")
	switch {
	case err == nil && reply == "PONG":
		return nil
	case err != nil && strings.Contains(err.Error(), "NOAUTH"):
		return nil
	case err == nil:
		return fmt.Errorf("it answers %q to PING", reply)
	}
	return err
}

// Restart starts the server again after [Process.Kill] or [Process.Stop], with the same settings
// and files, on the same port.
func (s *RedisServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(s.ready); err != nil {
		t.Fatal(err)
	}
}

// Command sends a command on a connection of its own and returns the reply as text: the
// elements of an array are separated by line feeds, and a null is empty.
func (s *RedisServer) Command(t testing.TB, args ...string) string {
	t.Helper()
	reply, err := redisCommand(s.Addr, args...)
	if err != nil {
		t.Fatalf("servers: redis %s: %v", args[0], err)
	}
	return reply
}

// Calls returns how often the server was told each command, in lower case, since it started or
// since CONFIG RESETSTAT. Those that a script calls count too.
func (s *RedisServer) Calls(t testing.TB) map[string]int {
	t.Helper()
	calls := make(map[string]int)
	for line := range strings.Lines(s.Command(t, "INFO", "commandstats")) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		number, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(number); found && err == nil {
			calls[name] = n
		}
	}
	return calls
}

func redisPort(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
