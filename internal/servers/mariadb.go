package servers

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A MariaDBServer is a MariaDB server, or MySQL in its place, with a database named once and a
// user root, who needs no password.
type MariaDBServer struct {
	*Process
	Addr  string // host:port
	Dir   string // where its files are; the data in data
	MySQL bool   // what runs is MySQL

	settings []string
}

// MariaDB starts a server, which is gone when the test ends. The settings are as in my.cnf, one
// each: "max_connections = 20". Whatever they do not say is the server's default.
func MariaDB(t testing.TB, settings ...string) *MariaDBServer {
	t.Helper()
	s, err := StartMariaDB(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("servers: the last that %s printed:\n%s", s.name, s.tail())
		}
		s.Close()
	})
	return s
}

// MariaDBTLS starts a server that takes encrypted connections only, and returns also the path of
// the PEM file with the certificate that signs the server's.
func MariaDBTLS(t testing.TB) (s *MariaDBServer, ca string) {
	t.Helper()
	cert, key := selfSigned(t, t.TempDir())
	return MariaDB(t, "ssl-cert = "+cert, "ssl-key = "+key, "require-secure-transport = ON"), cert
}

// StartMariaDB is MariaDB for servers that several tests share. The caller must end it with
// [MariaDBServer.Close].
func StartMariaDB(settings ...string) (*MariaDBServer, error) {
	dir, err := os.MkdirTemp("", "once-mariadb-")
	if err != nil {
		return nil, err
	}
	s, err := startMariaDB(dir, settings)
	if err != nil {
		os.RemoveAll(dir)
	}
	return s, err
}

func startMariaDB(dir string, settings []string) (*MariaDBServer, error) {
	server, err := mariadbProgram()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return nil, err
	}
	// Its version begins with the path that it was called by.
	version, err := exec.Command(server, "--no-defaults", "--version").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("servers: %s --version: %w; it printed:\n%s", server, err, version)
	}
	mysql := !strings.Contains(strings.TrimPrefix(string(version), server), "MariaDB")
	if mysql {
		err = installMySQL(server, dir)
	} else {
		err = installMariaDB(server, dir)
	}
	if err != nil {
		return nil, err
	}
	const tries = 5 // somebody else may take the port before the server does
	for try := 1; ; try++ {
		port := firstPort + rand.N(lastPort-firstPort)
		if !unused(port, []int{0}) {
			continue
		}
		s := &MariaDBServer{Addr: local(port), Dir: dir, MySQL: mysql, settings: settings}
		s.Process = &Process{
			name:    fmt.Sprintf("mariadb-%d", port),
			command: func() *exec.Cmd { return s.serve(server, port) },
			logPath: filepath.Join(dir, "mariadb.log"),
		}
		err := s.start(s.ready)
		if err == nil || try == tries {
			return s, err
		}
	}
}

// installMariaDB makes the files of a new server.
func installMariaDB(server, dir string) error {
	// Beside the server, in the usual layouts, or else the one that is found in PATH.
	base := filepath.Dir(filepath.Dir(server))
	install, data := filepath.Join(base, "bin", "mariadb-install-db"), filepath.Join(dir, "data")
	args := []string{"--no-defaults", "--basedir=" + base, "--datadir=" + data, "--skip-test-db",
		"--skip-name-resolve", "--auth-root-authentication-method=normal"}
	if _, err := exec.LookPath(install); err != nil {
		install = "mariadb-install-db"
		args = slices.Delete(args, 1, 2)
	}
	installing := exec.Command(install, append(args, mariadbUser()...)...)
	installing.Env = mariadbEnv(dir)
	if out, err := installing.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: mariadb-install-db: %w; it printed:\n%s", err, out)
	}
	// A database is a folder.
	return os.Mkdir(filepath.Join(data, "once"), 0o755)
}

// installMySQL is installMariaDB for MySQL's server, which does it by itself. The user whom it
// makes may not connect by TCP.
func installMySQL(server, dir string) error {
	script := filepath.Join(dir, "first.sql")
	text := "CREATE USER root@'%';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\nCREATE DATABASE once;\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		return err
	}
	args := []string{"--no-defaults", "--initialize-insecure", "--datadir=" + filepath.Join(dir, "data"),
		"--init-file=" + script, "--secure-file-priv=NULL"}
	installing := exec.Command(server, append(args, mariadbUser()...)...)
	installing.Env = mariadbEnv(dir)
	if out, err := installing.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: mysqld --initialize-insecure: %w; it printed:\n%s", err, out)
	}
	return nil
}

func (s *MariaDBServer) serve(path string, port int) *exec.Cmd {
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(s.Dir, "data"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--skip-name-resolve",
		"--socket=" + filepath.Join(s.Dir, "socket"), "--pid-file=" + filepath.Join(s.Dir, "pid")}
	args = append(args, mariadbUser()...)
	if s.MySQL {
		// Another port, and a folder that is only there where MySQL is installed.
		args = append(args, "--mysqlx=OFF", "--secure-file-priv=NULL")
	}
	for _, setting := range s.settings {
		name, value, _ := strings.Cut(setting, "=")
		args = append(args, "--"+strings.TrimSpace(name)+"="+strings.TrimSpace(value))
	}
	cmd := exec.Command(path, args...)
	cmd.Env = mariadbEnv(s.Dir)
	return cmd
}

// mariadbEnv gives a server a folder of its own for temporary tables. When it starts it removes
// all that it finds there, be it another server's.
func mariadbEnv(dir string) []string {
	return append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"))
}

// mariadbUser returns the option that is needed to run as root, if that is who runs the test.
func mariadbUser() []string {
	if os.Getuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// Restart starts the server again after [Process.Kill] or [Process.Stop], on the same port.
func (s *MariaDBServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(s.ready); err != nil {
		t.Fatal(err)
	}
}

// Close ends the server and removes its files.
func (s *MariaDBServer) Close() {
	s.Kill()
	os.RemoveAll(s.Dir)
}

// ready reports whether the server greets who connects.
func (s *MariaDBServer) ready() error {
	conn, err := net.DialTimeout("tcp", s.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var head [5]byte // of a packet: length, number, and the protocol's version or 0xff for an error
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[4] == 0xff {
		return errors.New("it lets nobody in yet")
	}
	return nil
}

// mariadbProgram returns the path of the server. The environment variable ONCE_MARIADB_SERVER
// names another one than Debian's, to test other versions, or MySQL's mysqld.
func mariadbProgram() (string, error) {
	name := cmp.Or(os.Getenv("ONCE_MARIADB_SERVER"), "mariadbd")
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("servers: %s is not installed; "+
		"install all servers that the tests need with: make servers", name)
}
