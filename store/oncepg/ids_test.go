package oncepg_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncepg"
)

func migratedIDs(t testing.TB, cfg oncepg.Config, ids oncepg.IDsConfig) {
	t.Helper()
	ok(t, oncepg.MigrateIDs(t.Context(), cfg, ids))
}

func openIDs(t testing.TB, cfg oncepg.Config, ids oncepg.IDsConfig) *oncepg.IDs {
	t.Helper()
	s, err := open(t, cfg).IDs(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, through := range []string{"server", "pooler"} {
		t.Run(through, func(t *testing.T) {
			t.Parallel()
			var pooler *servers.PgBouncerServer
			if sharedDSN(t); through == "pooler" {
				pooler = servers.PgBouncer(t, shared.server)
			}
			var cfg oncepg.Config
			another := func(t *testing.T, lease time.Duration) once.IDStore {
				ids := oncepg.IDsConfig{Window: time.Hour, Lease: lease}
				cfg = config(t)
				cfg.Timeout = time.Minute // some calls are large
				migratedIDs(t, cfg, ids)
				if pooler != nil {
					cfg.DSN, cfg.Pooler = pooler.DSN, true
				}
				return openIDs(t, cfg, ids)
			}
			const lasting = 10 * time.Minute
			oncetest.TestIDStore(t, oncetest.IDOptions{
				Open: func(t *testing.T) once.IDStore { return another(t, lasting) },
				OpenAgain: func(t *testing.T) once.IDStore {
					return openIDs(t, cfg, oncepg.IDsConfig{Window: time.Hour, Lease: lasting})
				},
				OpenLeased: another,
			})
		})
	}
}

// A clock that was set back by more than all the tables are for is told from one that goes.
func TestIDsExplainAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	ids, b := openIDs(t, cfg, day), newBusiness(t, cfg.DSN)
	ok(t, b.exec("UPDATE "+cfg.Schema+".id_buckets SET bucket = bucket + 100"))
	err := ids.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"a"})
	if err == nil || !strings.Contains(err.Error(), "clock was set back") {
		t.Errorf("got %v, want an error that says what is wrong", err)
	}
	ok(t, b.exec("UPDATE "+cfg.Schema+".id_buckets SET bucket = bucket - 100"))
	ok(t, ids.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"a"}))

	// A transaction that keeps a table from being used again is named as the reason, too.
	ok(t, b.exec("UPDATE "+cfg.Schema+".id_buckets SET bucket = -1"))
	tx, err := b.pool.Begin(t.Context())
	ok(t, err)
	defer tx.Rollback(context.Background())
	for n := range 10 {
		_, err := tx.Exec(t.Context(), fmt.Sprintf("SELECT FROM %s.ids_%d", cfg.Schema, n))
		ok(t, err)
	}
	err = ids.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"b"})
	if err == nil || !strings.Contains(err.Error(), "a transaction is open") {
		t.Errorf("got %v, want an error that says what is wrong", err)
	}
	ok(t, tx.Rollback(t.Context()))
	ok(t, ids.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"b"}))
}

// Ids answer for the window, whichever bucket they and their copies are in, while several processes
// turn the tables.
func TestIDsAreForgottenByTheBucket(t *testing.T) {
	t.Parallel()
	const window, buckets, writers = 6 * time.Second, 3, 3
	ids := oncepg.IDsConfig{Window: window, Buckets: buckets, Lease: time.Minute}
	cfg := config(t)
	migratedIDs(t, cfg, ids)
	var all sync.WaitGroup
	defer all.Wait()
	stop := time.Now().Add(5 * window / 2)
	for w := range writers {
		s := openIDs(t, cfg, ids)
		all.Go(func() {
			completed := map[string]time.Time{}
			for n := 0; time.Now().Before(stop) && !t.Failed(); n++ {
				id := fmt.Sprint(w, " ", n)
				began := time.Now()
				if err := s.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{id}); err != nil {
					t.Error(err)
					return
				}
				completed[id] = began
				var names []string
				for id, at := range completed {
					if time.Since(at) > 2*window {
						delete(completed, id)
						continue
					}
					names = append(names, id)
				}
				o := once.NewOwner()
				states, err := s.ClaimIDs(t.Context(), "s", o, names)
				if err != nil {
					t.Error(err)
					return
				}
				for i, id := range names {
					switch age := time.Since(completed[id]); {
					case states[i] != once.IDDone && age < window:
						t.Errorf("%s is %v at the age of %v", id, states[i], age)
					case states[i] != once.IDDone:
						delete(completed, id) // claimed now
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	all.Wait()
	s := openIDs(t, cfg, ids)
	b := newBusiness(t, cfg.DSN)
	left := func() (n int) {
		for i := range buckets + 2 {
			var some int
			ok(t, b.pool.QueryRow(t.Context(), fmt.Sprintf("SELECT count(*) FROM %s.ids_%d", cfg.Schema, i)).Scan(&some))
			n += some
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); left() > 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d ids are left long after the window", left())
		}
	}
	states, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"0 0"})
	ok(t, err)
	if states[0] == once.IDDone { // a writer may have claimed it
		t.Error("an id is done after it was forgotten")
	}
}

// An id that is completed in the caller's transaction is done if that is committed, and new again if
// not; of two transactions with the same id one waits for the other.
func TestIDsInTheCallersTransaction(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	window := oncepg.IDsConfig{Window: time.Hour}
	migratedIDs(t, cfg, window)
	s := openIDs(t, cfg, window)
	pool, err := pgxpool.New(t.Context(), cfg.DSN)
	ok(t, err)
	t.Cleanup(pool.Close)
	complete := func(tx pgx.Tx, names ...string) string {
		t.Helper()
		fresh, err := s.CompleteTx(t.Context(), tx, "s", names)
		ok(t, err)
		return fmt.Sprint(fresh)
	}
	begin := func() pgx.Tx {
		t.Helper()
		tx, err := pool.Begin(t.Context())
		ok(t, err)
		t.Cleanup(func() { tx.Rollback(context.Background()) }) // or the pool would not close
		return tx
	}
	tx := begin()
	if fresh := complete(tx, "a", "b", "a"); fresh != "[true true false]" {
		t.Errorf("new ids and a copy: %v", fresh)
	}
	ok(t, tx.Rollback(t.Context()))
	tx = begin()
	if fresh := complete(tx, "a"); fresh != "[true]" {
		t.Errorf("after a rollback: %v", fresh)
	}
	second := make(chan string)
	go func() {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			second <- err.Error()
			return
		}
		defer tx.Rollback(t.Context())
		fresh, err := s.CompleteTx(t.Context(), tx, "s", []string{"a", "c"})
		second <- fmt.Sprint(fresh, err)
	}()
	select {
	case got := <-second:
		t.Errorf("the second transaction did not wait, and got %v", got)
	case <-time.After(300 * time.Millisecond):
	}
	ok(t, tx.Commit(t.Context()))
	if got := <-second; got != "[false true] <nil>" {
		t.Errorf("after the first has committed the second got %v", got)
	}
	states, err := s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a", "b", "c"})
	ok(t, err)
	if fmt.Sprint(states) != "[done claimed claimed]" {
		t.Errorf("in the end they are %v", states)
	}
}

func TestIDsRefuse(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s := open(t, cfg)
	_, err := s.IDs(t.Context(), oncepg.IDsConfig{Buckets: -1, Lease: -1})
	for _, field := range []string{"Window", "Buckets", "Lease"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	if _, err := s.IDs(t.Context(), day); err == nil || !strings.Contains(err.Error(), "MigrateIDs") {
		t.Errorf("without the tables: error %v", err)
	}
	migratedIDs(t, cfg, day)
	migratedIDs(t, cfg, day) // again
	if err := oncepg.MigrateIDs(t.Context(), cfg, oncepg.IDsConfig{Window: time.Hour}); err == nil {
		t.Error("tables that were made for another window were taken")
	}
	if _, err := s.IDs(t.Context(), oncepg.IDsConfig{Window: time.Hour}); err == nil || !strings.Contains(err.Error(), "8 buckets of 3h") {
		t.Errorf("with another window: error %v", err)
	}
	ids, err := s.IDs(t.Context(), day)
	ok(t, err)
	s.Close()
	if _, err := ids.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a"}); !errors.Is(err, once.ErrClosed) {
		t.Errorf("of a closed store: error %v", err)
	}
	if text, err := oncepg.IDsSchema("other", day); err != nil || !strings.Contains(text, "CREATE TABLE \"other\".ids_9 ") ||
		strings.Contains(text, "#") || strings.Contains(text, " once.") {
		t.Errorf("the schema cannot be printed: error %v\n%s", err, text)
	}
}

// What an id costs is for people to read.
func TestIDsAreCompact(t *testing.T) {
	t.Parallel()
	n := 100_000
	if *million {
		n = 1_000_000
	}
	cfg := config(t)
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	s := openIDs(t, cfg, day)
	started := time.Now()
	ids := make([]string, 10_000)
	for at := 0; at < n; at += len(ids) {
		for i := range ids {
			ids[i] = fmt.Sprint("id ", at+i)
		}
		ok(t, s.CompleteIDs(t.Context(), "s", once.NewOwner(), ids))
	}
	var size int
	ok(t, newBusiness(t, cfg.DSN).pool.QueryRow(t.Context(), `SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND relname ~ '^ids_[0-9]+$'`, cfg.Schema).Scan(&size))
	t.Logf("%d ids in %v, %d bytes each", n, time.Since(started), size/n)
	if size/n > 150 {
		t.Errorf("an id takes %d bytes", size/n)
	}
}

// A role needs no more than the documentation says.
func TestIDsNeedTheseRights(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	pool, role := newBusiness(t, cfg.DSN).pool, "role_"+once.NewOwner().String()
	grants := fmt.Sprintf(`CREATE ROLE %[2]s LOGIN; GRANT USAGE ON SCHEMA %[1]s TO %[2]s;
		GRANT SELECT ON ALL TABLES IN SCHEMA %[1]s TO %[2]s; GRANT UPDATE ON %[1]s.id_buckets TO %[2]s;
		GRANT INSERT, UPDATE, DELETE ON %[1]s.id_claims TO %[2]s;`, cfg.Schema, role)
	for n := range 10 {
		grants += fmt.Sprintf("GRANT INSERT, DELETE, TRUNCATE ON %s.ids_%d TO %s;", cfg.Schema, n, role)
	}
	_, err := pool.Exec(t.Context(), grants, pgx.QueryExecModeSimpleProtocol)
	ok(t, err)
	t.Cleanup(func() {
		pool.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role, pgx.QueryExecModeSimpleProtocol)
	})
	// As if all of the tables were in use for buckets that are over.
	_, err = pool.Exec(t.Context(), "UPDATE "+cfg.Schema+".id_buckets SET bucket = 1")
	ok(t, err)
	cfg.DSN += "&role=" + role
	s := openIDs(t, cfg, day)
	o := once.NewOwner()
	_, err = s.ClaimIDs(t.Context(), "s", o, []string{"a", "b"})
	ok(t, err)
	ok(t, s.CompleteIDs(t.Context(), "s", o, []string{"a"}))
	ok(t, s.ReleaseIDs(t.Context(), "s", o, []string{"b"}))
}
