package oncesql_test

import (
	"database/sql"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/processes"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

// shared is the server of all tests that leave it as it is. Each has a database of its own there.
var shared struct {
	once   sync.Once
	server *servers.MariaDBServer
	err    error
}

// postgres is another one, where each test has a schema of its own.
var postgres struct {
	once   sync.Once
	server *servers.PostgresServer
	err    error
}

func TestMain(m *testing.M) {
	processes.Work(openWorker)
	if dsn := os.Getenv(childEnv); dsn != "" {
		if err := child(dsn); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Setenv("TMPDIR", servers.Memory())
	flag.Parse()
	flag.Set("test.parallel", "12") // most of the time they wait
	code := m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	if postgres.server != nil {
		postgres.server.Close()
	}
	os.Exit(code)
}

func sharedServer(t testing.TB) *servers.MariaDBServer {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = servers.StartMariaDB("max_connections = 400") })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// postgresDSN returns that of a new schema, by which its connections are also named.
func postgresDSN(t testing.TB) string {
	t.Helper()
	postgres.once.Do(func() { postgres.server, postgres.err = servers.StartPostgres("max_connections = 200") })
	if postgres.err != nil {
		t.Fatal(postgres.err)
	}
	db, err := sql.Open("pgx", postgres.server.DSN)
	ok(t, err)
	defer db.Close()
	name := "once_" + once.NewOwner().String()
	_, err = db.Exec("CREATE SCHEMA " + name)
	ok(t, err)
	u, err := url.Parse(postgres.server.DSN)
	ok(t, err)
	q := u.Query()
	q.Set("search_path", name)
	q.Set("application_name", name)
	u.RawQuery = q.Encode()
	return u.String()
}

// engines are the databases that every test of a store runs on.
var engines = []struct {
	name   string
	config func(testing.TB) oncesql.Config // of a new database, without tables
}{
	{"SQLite", sqliteConfig},
	{"MariaDB", mariadbConfig},
}

// onEach runs the test on every engine.
func onEach(t *testing.T, test func(*testing.T, oncesql.Config)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e.config(t))
		})
	}
}

func sqliteConfig(t testing.TB) oncesql.Config {
	return oncesql.Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "odd name?#%20.db"), Sweep: -1, Timeout: time.Minute}
}

func mariadbConfig(t testing.TB) oncesql.Config {
	return mariadbOn(t, sharedServer(t))
}

// mariadbOn returns the configuration of a new database on the server.
func mariadbOn(t testing.TB, s *servers.MariaDBServer) oncesql.Config {
	name := "once_" + strings.ToLower(once.NewOwner().String())
	db, err := sql.Open("mysql", "root@unix("+filepath.Join(s.Dir, "socket")+")/once")
	ok(t, err)
	defer db.Close()
	_, err = db.Exec("CREATE DATABASE " + name)
	ok(t, err)
	return oncesql.Config{DSN: fmt.Sprintf("mysql://root@%s/%s", s.Addr, name), Sweep: -1, Timeout: time.Minute}
}

// transactions returns the query for how many transactions of the database are open, and of them
// how many wait for a lock. In MySQL that table fails when a statement is going on that has bytes
// which are no text.
func transactions(t testing.TB) string {
	if sharedServer(t).MySQL {
		return "SELECT COUNT(*), COUNT(w.REQUESTING_THREAD_ID) FROM performance_schema.events_transactions_current t " +
			"JOIN performance_schema.threads p ON p.THREAD_ID = t.THREAD_ID " +
			"LEFT JOIN performance_schema.data_lock_waits w ON w.REQUESTING_THREAD_ID = t.THREAD_ID " +
			"WHERE t.STATE = 'ACTIVE' AND p.PROCESSLIST_DB = DATABASE() AND p.PROCESSLIST_ID <> CONNECTION_ID()"
	}
	return "SELECT COUNT(*), COALESCE(SUM(t.trx_state = 'LOCK WAIT'), 0) FROM information_schema.INNODB_TRX t " +
		"JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id WHERE p.DB = DATABASE()"
}

// migrated makes the tables.
func migrated(t testing.TB, cfg oncesql.Config) oncesql.Config {
	t.Helper()
	ok(t, oncesql.Migrate(t.Context(), cfg))
	return cfg
}

// open opens a store, which is closed when the test ends.
func open(t testing.TB, cfg oncesql.Config) *oncesql.Store {
	t.Helper()
	s, err := oncesql.Open(t.Context(), cfg)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

const long = time.Hour

func newClaim(id string) once.Claim {
	return once.Claim{
		Key: once.Key{Scope: "test", ID: id}, Owner: once.NewOwner(), Lease: long,
		Fingerprint: once.FingerprintOf([]byte(id)),
	}
}

func outcome(text string) once.Outcome { return once.Outcome{Type: "text/plain", Data: []byte(text)} }

// wins makes the claim, which must win.
func wins(t testing.TB, s once.Store, c once.Claim) once.Record {
	t.Helper()
	rec, err := s.Claim(t.Context(), c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	if !rec.Won(c) {
		t.Fatalf("the claim did not win: the record is %v of attempt %d", rec.State, rec.Attempt)
	}
	return rec
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually fails the test unless the condition holds before long.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

// openTransactional is open for a transactional store.
func openTransactional(t testing.TB, cfg oncesql.Config) *oncesql.Transactional {
	t.Helper()
	s, err := oncesql.OpenTransactional(t.Context(), cfg)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}
