//go:build linux

package partition

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/oncehq/once/store/oncepg"
)

// TestPostgresPartedFromItsStandby parts the primary and a client from the standby, which is
// promoted. Both sides then claim the same operations.
func TestPostgresPartedFromItsStandby(t *testing.T) {
	t.Run("asynchronous", func(t *testing.T) {
		t.Parallel()
		claimed, twice := partPostgres(t, "")
		if twice == 0 {
			t.Errorf("none of %d operations was claimed twice: there was no partition", claimed)
		}
	})
	t.Run("synchronous", func(t *testing.T) {
		t.Parallel()
		claimed, twice := partPostgres(t, "*")
		if twice > 0 {
			t.Errorf("%d of %d operations were claimed twice", twice, claimed)
		}
	})
}

func partPostgres(t *testing.T, syncNames string) (claimed, twice int) {
	n := New(t)
	l := newPostgresLab(t, n)
	l.primary(syncNames)
	l.standby()
	ok(t, oncepg.Migrate(t.Context(), oncepg.Config{DSN: l.socket(A)}))
	a := newClaimer(t, n, A, dsnOf(A), cutOff)
	before, during := names("before"), names("during")
	if won := a.claim(t, before); len(won) != len(before) {
		t.Fatalf("before the partition only %d of %d claims won", len(won), len(before))
	}
	l.caughtUp()
	n.Cut(t)
	wonByA := a.claim(t, during)
	l.run(nil, "pg_ctl", "promote", "-w", "-D", l.data(B))
	b := newClaimer(t, n, B, dsnOf(B), patient)
	if won := b.claim(t, before); len(won) > 0 {
		t.Errorf("%d operations that were claimed before the partition were claimed again", len(won))
	}
	wonByB := b.claim(t, during)
	if len(wonByB) != len(during) {
		t.Errorf("the side with the new primary won only %d of %d claims", len(wonByB), len(during))
	}
	t.Logf("parted: the old primary's side won %d, the new one's %d, both %d",
		len(wonByA), len(wonByB), both(wonByA, wonByB))
	return len(during), both(wonByA, wonByB)
}

func dsnOf(s Side) string {
	return fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable", s.Addr(), port(s))
}

// port differs only for the sake of the sockets, which are in one folder.
func port(s Side) int { return 5432 + int(s) }

// A postgresLab has a server on each side.
type postgresLab struct {
	*testing.T
	n         *Network
	dir       string
	programs  string   // the folder
	asAnother []string // who PostgreSQL may run as: anybody but root
}

func newPostgresLab(t *testing.T, n *Network) *postgresLab {
	t.Helper()
	l := &postgresLab{T: t, n: n}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("postgres is not installed; install all servers that the tests need with: make servers")
	}
	l.programs = found[len(found)-1]
	who, err := user.Lookup("postgres")
	if err != nil {
		who, err = user.Lookup("nobody")
	}
	ok(t, err)
	l.asAnother = []string{"setpriv", "--reuid", who.Uid, "--regid", who.Gid, "--clear-groups"}
	l.dir, err = os.MkdirTemp("", "once-partition-")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(l.dir) })
	_, err = run(exec.Command("chown", who.Uid+":"+who.Gid, l.dir))
	ok(t, err)
	return l
}

func (l *postgresLab) data(s Side) string { return filepath.Join(l.dir, fmt.Sprint("data-", s)) }

// socket returns a DSN for use from outside of the network.
func (l *postgresLab) socket(s Side) string {
	return fmt.Sprintf("host=%s port=%d user=postgres", l.dir, port(s))
}

// command returns a command of PostgreSQL's, on a side or outside.
func (l *postgresLab) command(side *Side, name string, args ...string) *exec.Cmd {
	full := append(append(l.asAnother[:len(l.asAnother):len(l.asAnother)], filepath.Join(l.programs, name)), args...)
	cmd := exec.Command(full[0], full[1:]...)
	if side != nil {
		cmd = l.n.Command(*side, full[0], full[1:]...)
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	return cmd
}

func (l *postgresLab) run(side *Side, name string, args ...string) {
	l.Helper()
	_, err := run(l.command(side, name, args...))
	ok(l.T, err)
}

// start starts the server whose data are there.
func (l *postgresLab) start(side Side, settings ...string) {
	l.Helper()
	args := []string{"-D", l.data(side), "-k", l.dir, "-p", fmt.Sprint(port(side)),
		"-c", "listen_addresses=" + side.Addr()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	cmd := l.command(&side, "postgres", args...)
	log, err := os.Create(filepath.Join(l.dir, fmt.Sprint("log-", side)))
	ok(l.T, err)
	l.Cleanup(func() {
		defer log.Close()
		if text, _ := os.ReadFile(log.Name()); l.Failed() {
			l.Logf("the server on side %d printed:\n%s", side, text[max(0, len(text)-4000):])
		}
	})
	cmd.Stdout, cmd.Stderr = log, log
	Start(l.T, cmd)
	eventually(l.T, "a server lets somebody in", func() error { return l.ask(side, "SELECT true") })
}

func (l *postgresLab) primary(syncNames string) {
	l.Helper()
	l.run(nil, "initdb", "-D", l.data(A), "-U", "postgres", "--auth=trust", "--locale=C", "--no-sync")
	hba, err := os.OpenFile(filepath.Join(l.data(A), "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	ok(l.T, err)
	defer hba.Close()
	_, err = hba.WriteString("host all all 10.0.0.0/8 trust\nhost replication all 10.0.0.0/8 trust\n")
	ok(l.T, err)
	l.start(A, "synchronous_standby_names="+syncNames)
}

func (l *postgresLab) standby() {
	l.Helper()
	side := B
	l.run(&side, "pg_basebackup", "-h", A.Addr(), "-U", "postgres", "-D", l.data(B), "-R", "-c", "fast", "-X", "stream")
	l.start(B, "synchronous_standby_names=")
	eventually(l.T, "the standby follows", func() error {
		return l.ask(A, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'")
	})
}

// caughtUp returns when the standby has all that the primary has.
func (l *postgresLab) caughtUp() {
	l.Helper()
	eventually(l.T, "the standby has caught up", func() error {
		return l.ask(A, "SELECT replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication")
	})
}

// ask asks the server on a side whether something is so.
func (l *postgresLab) ask(side Side, question string) error {
	conn, err := pgx.Connect(l.Context(), l.socket(side))
	if err != nil {
		return err
	}
	defer conn.Close(l.Context())
	var yes bool
	err = conn.QueryRow(l.Context(), question).Scan(&yes)
	if err == nil && !yes {
		err = errors.New("it is not so: " + strings.TrimPrefix(question, "SELECT "))
	}
	return err
}
