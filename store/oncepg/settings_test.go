package oncepg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

func TestConfigTellsAllItsProblems(t *testing.T) {
	t.Parallel()
	_, err := oncepg.Open(t.Context(), oncepg.Config{
		Timeout: -1, LockWait: -1, Idle: -1, Isolation: "chaos", Schema: strings.Repeat("s", 51),
	})
	for _, word := range []string{"DSN", "Timeout", "LockWait", "Idle", "Isolation", "Schema"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not name %s: %v", word, err)
		}
	}
	_, err = oncepg.Open(t.Context(), oncepg.Config{DSN: "postgres://me:secret@host:port/db"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

// It says first what is wrong, once, and nothing that is nobody's business.
func TestDatabaseThatIsNotReachedIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := l.Addr().String()
	l.Close() // nobody listens there now
	running := config(t).DSN
	elsewhere, err := url.Parse(running)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Path = "/nowhere"
	for dsn, want := range map[string][]string{
		"postgres://me:secret@" + down + "/db":                      {"cannot connect to " + down + ": dial tcp", "is the server running there?"},
		"postgres://me:secret@" + down + "/db?sslmode=disable":      {"cannot connect to " + down + ": dial tcp", "is the server running there?"},
		"postgres://me:secret@" + down + "," + down + "/db":         {"cannot connect to " + down + ": dial tcp", "is the server running there?"},
		"postgres://me:secret@/db?host=" + t.TempDir() + "&port=54": {"cannot connect to ", "is the server running there?"},
		elsewhere.String(): {"cannot connect to ", "make the database"},
	} {
		cfg := oncepg.Config{DSN: dsn}
		_, opening := oncepg.Open(t.Context(), cfg)
		_, _, examining := oncepg.Examine(t.Context(), cfg)
		for verb, err := range map[string]error{
			"open": opening, "migrate": oncepg.Migrate(t.Context(), cfg), "examine": examining,
			"migrate ids": oncepg.MigrateIDs(t.Context(), cfg, oncepg.IDsConfig{Window: time.Hour}),
		} {
			if _, ok := errors.AsType[*pgconn.ConnectError](err); !ok {
				t.Fatalf("%s: error %v is not that of pgx", verb, err)
			}
			text := err.Error()
			for _, w := range want {
				if strings.Count(text, w) != 1 {
					t.Errorf("%s: error is %q, want once %q", verb, text, w)
				}
			}
			if !strings.HasPrefix(text, "oncepg: cannot connect to ") || strings.Contains(text, "secret") || strings.Contains(text, "\n") {
				t.Errorf("%s: error is %q", verb, text)
			}
		}
	}
}

func TestNothingIsCreatedSilently(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	for range 2 {
		_, err := oncepg.Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "once migrate") {
			t.Fatalf("open without tables: got %v, want the way out", err)
		}
	}
	_, findings, err := oncepg.Examine(t.Context(), cfg)
	if err != nil || !strings.Contains(strings.Join(findings, "\n"), "once migrate") {
		t.Errorf("findings without tables: %q, error %v", findings, err)
	}
	migrated(t, cfg)
	open(t, cfg)
}

func TestMigrateMayBeRepeatedAndRaced(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if err := oncepg.Migrate(context.Background(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := open(t, cfg)
	c := newClaim("a")
	wins(t, s, c)
	migrated(t, cfg)
	if rec, err := s.Load(t.Context(), c.Key); err != nil || rec.Owner != c.Owner {
		t.Errorf("after another migration the record is %v, error %v", rec.State, err)
	}
}

// What Schema prints makes what Migrate makes, under any name.
func TestPrintedSchema(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Schema = `Odd "name"; of a's schema`
	b := newBusiness(t, cfg.DSN)
	ok(t, b.exec(oncepg.Schema(cfg.Schema)))
	s := open(t, cfg)
	c := newClaim("a")
	wins(t, s, c)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long))
	var state, scope, id string
	ok(t, b.pool.QueryRow(t.Context(), `SELECT state, scope, id FROM "Odd ""name""; of a's schema".operations`).Scan(&state, &scope, &id))
	if state != "done" || scope != c.Key.Scope || id != c.Key.ID {
		t.Errorf("the view for people shows %s of %s in %s", state, id, scope)
	}
	if !strings.Contains(oncepg.Schema(""), "CREATE TABLE once.records") {
		t.Error("Schema of no name is not that of once")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	b := newBusiness(t, cfg.DSN)
	ok(t, b.exec("UPDATE "+cfg.Schema+".schema_version SET version = 1000"))
	_, err := oncepg.Open(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("open of a newer schema: got %v", err)
	}
	if err := oncepg.Migrate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("migration of a newer schema: got %v", err)
	}
}

// A schema of which somebody has emptied the table of its version is neither made again nor used.
func TestSchemaWithoutVersionIsExplained(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	b := newBusiness(t, cfg.DSN)
	ok(t, b.exec("DELETE FROM "+cfg.Schema+".schema_version"))
	_, err := oncepg.Open(t.Context(), cfg)
	_, findings, examining := oncepg.Examine(t.Context(), cfg)
	ok(t, examining)
	for verb, text := range map[string]string{
		"open": fmt.Sprint(err), "migrate": fmt.Sprint(oncepg.Migrate(t.Context(), cfg)), "examine": fmt.Sprint(findings),
	} {
		want := "INSERT INTO " + `"` + cfg.Schema + `"` + ".schema_version VALUES (1)"
		if !strings.Contains(text, want) || strings.Contains(text, "NULL") {
			t.Errorf("%s: got %q, want the way out", verb, text)
		}
	}
	ok(t, b.exec("INSERT INTO "+cfg.Schema+".schema_version VALUES (1)"))
	wins(t, open(t, cfg), newClaim("a"))
}

func TestServerWithoutFsyncIsRefused(t *testing.T) {
	t.Parallel()
	server := servers.Postgres(t, "fsync = off", "full_page_writes = off", "autovacuum = off")
	cfg := oncepg.Config{DSN: server.DSN, DangerouslyAllowNoFsync: true, Sweep: -1}
	migrated(t, cfg)
	if g := open(t, cfg).Guarantees(); g.Power != once.Lost || g.Weakness() == "" {
		t.Errorf("without fsync a loss of power is said to leave claims %v", g.Power)
	}
	cfg.DangerouslyAllowNoFsync = false
	if _, err := oncepg.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "fsync") {
		t.Errorf("open without fsync: got %v", err)
	}
	_, findings, err := oncepg.Examine(t.Context(), cfg)
	ok(t, err)
	for _, word := range []string{"fsync", "full_page_writes", "autovacuum"} {
		if !strings.Contains(strings.Join(findings, "\n"), word) {
			t.Errorf("the findings do not name %s: %q", word, findings)
		}
	}
}

// A role's or a database's settings do not weaken what the store acknowledges.
func TestSettingsOfTheRoleAreOverruled(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	cfg.DSN += "&synchronous_commit=off&default_transaction_isolation=serializable&default_transaction_read_only=on"
	s := open(t, cfg)
	if g := s.Guarantees(); g.Power != once.Survives {
		t.Errorf("a loss of power is said to leave claims %v", g.Power)
	}
	findings, err := s.Doctor(t.Context())
	if err != nil || !strings.Contains(strings.Join(findings, "\n"), "synchronous_commit") {
		t.Errorf("the findings do not name synchronous_commit: %q, error %v", findings, err)
	}
	// Serializable transactions would fail here, and read-only ones anyway.
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := s.Claim(context.Background(), newClaim("a")); err != nil {
				t.Errorf("claim: %v", err)
			}
		})
	}
	all.Wait()
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Errorf("sweep: %v", err)
	}

	// In a transactional store one can look.
	transactional := openTransactional(t, cfg)
	c := newClaim("b")
	tx, _ := oncepg.Tx(transactional.Bind(t.Context(), wins(t, transactional, c)))
	for name, want := range map[string]string{
		"synchronous_commit": "on", "transaction_isolation": "read committed", "transaction_read_only": "off",
	} {
		var got string
		if err := tx.QueryRow(t.Context(), "SHOW "+name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q in a transaction, error %v, want %q", name, got, err, want)
		}
	}
	ok(t, transactional.Release(t.Context(), c.Key, c.Owner))
}

func TestHealthyServerHasNoFindings(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	g, findings, err := oncepg.Examine(t.Context(), cfg)
	if err != nil || len(findings) != 0 || g.Weakness() != "" || !strings.HasPrefix(g.Store, "PostgreSQL ") {
		t.Errorf("got %+v, findings %q, error %v", g, findings, err)
	}
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s, transactional := open(t, cfg), openTransactional(t, cfg)
	held := newClaim("held")
	wins(t, transactional, held)
	for range 2 {
		ok(t, s.Close())
		ok(t, transactional.Close())
	}
	ctx := t.Context()
	for _, store := range []once.Store{s, transactional} {
		c := newClaim("a")
		_, err := store.Claim(ctx, c)
		_, loading := store.Load(ctx, c.Key)
		_, sweeping := store.(once.Sweeper).Sweep(ctx)
		for _, err := range []error{err, loading, sweeping, store.Complete(ctx, c.Key, c.Owner, outcome("x"), long)} {
			if !errors.Is(err, once.ErrClosed) {
				t.Errorf("a verb of a closed store: got %v, want ErrClosed", err)
			}
		}
		for _, err := range store.(once.Lister).List(ctx, once.Filter{}) {
			if !errors.Is(err, once.ErrClosed) {
				t.Errorf("list of a closed store: got %v, want ErrClosed", err)
			}
		}
	}
	if err := s.Wait(ctx, held.Key, held.Owner); !errors.Is(err, once.ErrClosed) {
		t.Errorf("wait of a closed store: got %v, want ErrClosed", err)
	}
	wins(t, open(t, cfg), newClaim("held")) // what ran was rolled back
}
