package servers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A PostgresServer is a PostgreSQL server with a database and a superuser named postgres, who
// needs no password.
type PostgresServer struct {
	*Process
	Addr string // host:port
	Dir  string // where its files are; the data in data
	DSN  string

	bin      string // where the programs are
	settings []string
}

// Postgres starts a server, which is gone when the test ends. The settings are as in
// postgresql.conf, one each: "max_connections = 20". Whatever they do not say is the server's
// default; so fsync is on.
func Postgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	s, err := StartPostgres(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.closeAfter(t) })
	return s
}

// StartPostgres is Postgres for servers that several tests share. The caller must end it with
// [PostgresServer.Close].
func StartPostgres(settings ...string) (*PostgresServer, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := openDir("once-postgres-")
	if err != nil {
		return nil, err
	}
	init := postgresCommand(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"),
		"-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := init.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("servers: initdb: %w; it printed:\n%s", err, out)
	}
	s, err := startPostgres(bin, dir, settings)
	if err != nil {
		os.RemoveAll(dir)
	}
	return s, err
}

// startPostgres starts a server on the data that is in dir.
func startPostgres(bin, dir string, settings []string) (*PostgresServer, error) {
	const tries = 5 // somebody else may take the port before the server does
	for try := 1; ; try++ {
		port := firstPort + rand.N(lastPort-firstPort)
		if !unused(port, []int{0}) {
			continue
		}
		s := &PostgresServer{
			Addr: local(port), Dir: dir, bin: bin, settings: settings,
			DSN: fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port),
		}
		s.Process = &Process{
			name:    fmt.Sprintf("postgres-%d", port),
			command: func() *exec.Cmd { return s.serve(port) },
			logPath: filepath.Join(dir, "postgres.log"),
		}
		err := s.start(s.ready)
		if err == nil || try == tries {
			return s, err
		}
	}
}

func (s *PostgresServer) serve(port int) *exec.Cmd {
	args := []string{"-D", filepath.Join(s.Dir, "data"), "-k", s.Dir, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1"}
	for _, setting := range s.settings {
		name, value, _ := strings.Cut(setting, "=")
		args = append(args, "-c", strings.TrimSpace(name)+"="+strings.TrimSpace(value))
	}
	return postgresCommand(filepath.Join(s.bin, "postgres"), args...)
}

// Restart starts the server again after [Process.Kill] or [Process.Stop], on the same port.
func (s *PostgresServer) Restart(t testing.TB) {
	t.Helper()
	// What a killed server leaves behind ends by itself, but not at once; until then the shared
	// memory is in use, and a new server gives up.
	deadline := time.Now().Add(patience)
	for {
		err := s.start(s.ready)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stop asks the server to end (SIGINT: without waiting for its clients), and returns when it is
// gone.
func (s *PostgresServer) Stop() { s.end(syscall.SIGINT) }

// KillAll is [Process.Kill] also for the processes that serve the server's clients, which go on
// for a while without it.
func (s *PostgresServer) KillAll() {
	pids := s.children()
	s.Kill()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Close ends the server and removes its files.
func (s *PostgresServer) Close() {
	s.Resume()
	s.Stop()
	os.RemoveAll(s.Dir)
}

// closeAfter is Close, and logs what the server printed if the test has failed.
func (s *PostgresServer) closeAfter(t testing.TB) {
	if t.Failed() {
		t.Logf("servers: the last that %s printed:\n%s", s.name, s.tail())
	}
	s.Close()
}

// Pause stops the server and the processes that serve its clients, until [PostgresServer.Resume].
func (s *PostgresServer) Pause() {
	s.Process.Pause()
	for _, pid := range s.children() {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Resume undoes [PostgresServer.Pause].
func (s *PostgresServer) Resume() {
	for _, pid := range s.children() {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	s.Process.Resume()
}

// children returns the processes that the server has started.
func (s *PostgresServer) children() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	parent := strconv.Itoa(s.cmd.Process.Pid)
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		_, rest, found := strings.Cut(string(stat), ") ") // see proc(5)
		if err != nil || !found {
			continue
		}
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == parent {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// Standby starts a standby of the server, which follows it from then on. The settings are the
// standby's own.
func (s *PostgresServer) Standby(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	dir, err := openDir("once-standby-")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(s.Addr)
	backup := postgresCommand(filepath.Join(s.bin, "pg_basebackup"), "-h", host, "-p", port,
		"-U", "postgres", "-D", filepath.Join(dir, "data"), "-R", "-c", "fast", "-X", "stream")
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("servers: pg_basebackup: %v; it printed:\n%s", err, out)
	}
	standby, err := startPostgres(s.bin, dir, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.closeAfter(t) })
	return standby
}

// Promote makes a standby a primary, and returns when it is one.
func (s *PostgresServer) Promote(t testing.TB) {
	t.Helper()
	promote := postgresCommand(filepath.Join(s.bin, "pg_ctl"), "promote", "-w", "-D", filepath.Join(s.Dir, "data"))
	if out, err := promote.CombinedOutput(); err != nil {
		t.Fatalf("servers: pg_ctl promote: %v; it printed:\n%s", err, out)
	}
}

// ready reports whether the server lets somebody in: it also answers while it starts up, but
// with an error.
func (s *PostgresServer) ready() error {
	conn, err := net.DialTimeout("tcp", s.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	// PostgreSQL's manual, "Message Formats": StartupMessage, and the first byte of the answer.
	text := "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	message := binary.BigEndian.AppendUint32(nil, uint32(4+len(text)))
	if _, err := conn.Write(append(message, text...)); err != nil {
		return err
	}
	var kind [1]byte
	if _, err := io.ReadFull(conn, kind[:]); err != nil {
		return err
	}
	if kind[0] != 'R' {
		return errors.New("it lets nobody in yet")
	}
	return nil
}

// postgresPrograms returns the folder of the newest installed version. The environment variable
// ONCE_POSTGRES_BIN names another one, to test other versions.
func postgresPrograms() (string, error) {
	if bin := os.Getenv("ONCE_POSTGRES_BIN"); bin != "" {
		return bin, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return postgresVersion(a) - postgresVersion(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("servers: postgres is not installed; " +
		"install all servers that the tests need with: make servers")
}

func postgresVersion(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// postgresCommand returns the command, to be run by a user that PostgreSQL accepts: anybody but
// root.
func postgresCommand(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.Dir = "/"
	if uid, gid, ok := postgresUser(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	return cmd
}

// postgresUser returns whom to be in place of root.
func postgresUser() (uid, gid uint32, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			id, _ := strconv.Atoi(u.Uid)
			group, _ := strconv.Atoi(u.Gid)
			return uint32(id), uint32(group), true
		}
	}
	return 0, 0, false
}

// openDir returns a new folder that the server's user may use. Unlike a test's own it can be
// reached by others.
func openDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if uid, gid, ok := postgresUser(); ok {
		err = os.Chown(dir, int(uid), int(gid))
	}
	return dir, err
}
