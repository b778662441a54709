package servers_test

import (
	"net"
	"testing"

	"github.com/oncehq/once/internal/servers"
)

func TestPostgresComesBackAfterKill(t *testing.T) {
	t.Parallel()
	s := servers.Postgres(t)
	listens(t, s.Addr)
	s.Kill()
	s.Restart(t)
	listens(t, s.Addr)
}

func TestPostgresStandbyCanBePromoted(t *testing.T) {
	t.Parallel()
	standby := servers.Postgres(t).Standby(t)
	standby.Promote(t)
	listens(t, standby.Addr)
}

func TestPausedPostgresAnswersWhenResumed(t *testing.T) {
	t.Parallel()
	s := servers.Postgres(t)
	s.Pause()
	c := dial(t, s.Addr)
	c.send(t, "\x00\x00\x00\x08\x04\xd2\x16\x2f") // SSLRequest
	c.silent(t)
	s.Resume()
	c.expect(t, "N")
}

func TestMariaDBComesBackAfterKill(t *testing.T) {
	t.Parallel()
	s := servers.MariaDB(t)
	listens(t, s.Addr)
	s.Kill()
	s.Restart(t)
	listens(t, s.Addr)
}

func listens(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("nobody listens: %v", err)
	}
	c.Close()
}

func TestPgBouncerListens(t *testing.T) {
	t.Parallel()
	listens(t, servers.PgBouncer(t, servers.Postgres(t)).Addr)
}
