package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A PgBouncerServer is a PgBouncer in front of a PostgreSQL server.
type PgBouncerServer struct {
	*Process
	Addr string // host:port
	DSN  string
}

// PgBouncer starts a pooler in transaction mode: consecutive transactions of a client may come to
// different sessions of the server.
func PgBouncer(t testing.TB, s *PostgresServer) *PgBouncerServer {
	t.Helper()
	path := program(t, "pgbouncer", "/usr/sbin")
	dir, err := openDir("once-pgbouncer-")
	if err != nil {
		t.Fatal("servers: pgbouncer: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	host, port, _ := net.SplitHostPort(s.Addr)
	const tries = 5 // somebody else may take the port before the server does
	for try := 1; ; try++ {
		own := firstPort + rand.N(lastPort-firstPort)
		b := &PgBouncerServer{Addr: local(own), DSN: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", local(own))}
		file := filepath.Join(dir, "pgbouncer.ini")
		text := fmt.Sprintf("[databases]\npostgres = host=%s port=%s user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"+
			"listen_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 10\n"+
			"server_round_robin = 1\n", host, port, own)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal("servers: pgbouncer: ", err)
		}
		b.Process = newProcess(t, fmt.Sprintf("pgbouncer-%d", own), dir, func() *exec.Cmd {
			return postgresCommand(path, file)
		})
		err := b.start(func() error {
			conn, err := net.DialTimeout("tcp", b.Addr, time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err == nil {
			return b
		}
		if try == tries {
			t.Fatal(err)
		}
	}
}
