package oncesql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

// A dialogue is a database with a table of payments, and an Inserter for it.
type dialogue struct {
	kind     oncesql.Database
	db       *sql.DB
	payments *oncesql.Inserter
	email    string // the constraint, by the name that Duplicate gives it
}

// onEachDatabase runs the test with every language and driver. MariaDB is also spoken to in MySQL's.
func onEachDatabase(t *testing.T, test func(*testing.T, dialogue)) {
	maria := mariadbConfig(t).DSN
	host, name, _ := strings.Cut(strings.TrimPrefix(maria, "mysql://root@"), "/")
	mysql, email := sharedServer(t).MySQL, "email"
	if mysql {
		email = "payments.email"
	}
	postgres := postgresDSN(t)
	for _, e := range []struct {
		name, driver, dsn string
		kind              oncesql.Database
		id, email         string
	}{
		{"pgx", "pgx", postgres, oncesql.PostgreSQL, "BIGSERIAL PRIMARY KEY", "payments_email_key"},
		{"libpq", "postgres", postgres, oncesql.PostgreSQL, "BIGSERIAL PRIMARY KEY", "payments_email_key"},
		{"MariaDB", "mysql", "root@tcp(" + host + ")/" + name, oncesql.MariaDB, "BIGINT AUTO_INCREMENT PRIMARY KEY", email},
		{"MySQL", "mysql", "root@tcp(" + host + ")/" + name, oncesql.MySQL, "BIGINT AUTO_INCREMENT PRIMARY KEY", email},
		{"SQLite", "sqlite", "file:" + t.TempDir() + "/db?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)",
			oncesql.SQLite, "INTEGER PRIMARY KEY", "payments.email"},
	} {
		if mysql && e.kind == oncesql.MariaDB {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			db, err := sql.Open(e.driver, e.dsn)
			ok(t, err)
			defer db.Close()
			for _, statement := range []string{
				"DROP TABLE IF EXISTS payments",
				"CREATE TABLE payments (id " + e.id + ", email VARCHAR(100) UNIQUE, transaction_id VARCHAR(100) NOT NULL UNIQUE, cents INTEGER, note VARCHAR(100))",
			} {
				_, err := db.Exec(statement)
				ok(t, err)
			}
			payments, err := oncesql.NewInserter(oncesql.InsertConfig{
				Database: e.kind, Table: "payments", Key: []string{"transaction_id"},
				Columns:   []string{"cents", "transaction_id", "email", "note"},
				Same:      []string{"cents", "email"},
				Returning: []string{"id", "note"},
			})
			ok(t, err)
			test(t, dialogue{e.kind, db, payments, e.email})
		})
	}
}

// pay inserts a payment. It returns its id.
func (d dialogue) pay(ctx context.Context, db oncesql.Queryer, tx string, cents any, email any, note string) (id int64, got string, inserted bool, err error) {
	inserted, err = d.payments.Run(ctx, db, []any{cents, tx, email, note}, &id, &got)
	return id, got, inserted, err
}

func TestInsertIsAnsweredWithTheRowThatIsThere(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		for name, values := range map[string][2]any{"values": {100, "a@example.com"}, "nulls": {nil, nil}} {
			first, note, inserted, err := d.pay(t.Context(), d.db, name, values[0], values[1], "first")
			if err != nil || !inserted || note != "first" {
				t.Fatalf("%s: a new row is new: %v, note %q, error %v", name, inserted, note, err)
			}
			again, note, inserted, err := d.pay(t.Context(), d.db, name, values[0], values[1], "second")
			if err != nil || inserted || again != first || note != "first" {
				t.Errorf("%s: repeated: got row %d, new: %v, note %q, error %v, want row %d as it was",
					name, again, inserted, note, err, first)
			}
			for _, other := range [][2]any{{101, values[1]}, {values[0], "other@example.com"}} {
				if _, _, _, err := d.pay(t.Context(), d.db, name, other[0], other[1], "x"); !errors.Is(err, once.ErrMismatch) {
					t.Errorf("%s: another request with the key: got %v, want ErrMismatch", name, err)
				}
			}
		}
		_, _, _, err := d.pay(t.Context(), d.db, "new", 1, "a@example.com", "x")
		if constraint, dup := oncesql.Duplicate(err); !dup || constraint != d.email {
			t.Errorf("an address that is taken: got %v by %q, want a duplicate by %q", err, constraint, d.email)
		}
	})
}

func TestInsertOfARowThatIsThereDoesNotEndTheTransaction(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		want, _, _, err := d.pay(t.Context(), d.db, "a", 1, "a@example.com", "first")
		ok(t, err)
		tx, err := d.db.Begin()
		ok(t, err)
		defer tx.Rollback()
		for _, cents := range []int{1, 2} {
			id, _, inserted, err := d.pay(t.Context(), tx, "a", cents, "a@example.com", "second")
			if cents == 1 && (err != nil || inserted || id != want) {
				t.Errorf("repeated: got row %d, new: %v, error %v", id, inserted, err)
			}
			if cents == 2 && !errors.Is(err, once.ErrMismatch) {
				t.Errorf("another request: got %v, want ErrMismatch", err)
			}
		}
		if _, _, inserted, err := d.pay(t.Context(), tx, "b", 1, "b@example.com", "x"); err != nil || !inserted {
			t.Errorf("a new row afterwards: new: %v, error %v", inserted, err)
		}
		ok(t, tx.Commit())
		if _, _, inserted, err := d.pay(t.Context(), d.db, "b", 1, "b@example.com", "x"); err != nil || inserted {
			t.Errorf("after the commit: new: %v, error %v", inserted, err)
		}
	})
}

// Equal requests at the same time may also run into each other at the address.
func TestEqualInsertsAtTheSameTimeMakeOneRow(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		for round := range 10 {
			var all sync.WaitGroup
			var made atomic.Int32
			ids := make([]int64, 12)
			key := fmt.Sprint("round ", round)
			for n := range ids {
				all.Go(func() {
					for {
						id, _, inserted, err := d.pay(context.Background(), d.db, key, round, key, "x")
						if deadlocked(err) {
							continue // MySQL chooses one of three that insert the same
						}
						if err != nil {
							t.Errorf("round %d: %v", round, err)
						}
						if ids[n] = id; inserted {
							made.Add(1)
						}
						return
					}
				})
			}
			all.Wait()
			for _, id := range ids {
				if id != ids[0] || made.Load() != 1 {
					t.Fatalf("round %d: %d rows were made, and callers got %v", round, made.Load(), ids)
				}
			}
		}
	})
}

func deadlocked(err error) bool { return errors.Is(oncesql.RolledBack(err), once.ErrRolledBack) }

// counted counts statements, each of which is a round trip.
type counted struct {
	oncesql.Queryer
	n atomic.Int32
}

func (c *counted) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	c.n.Add(1)
	return c.Queryer.ExecContext(ctx, query, args...)
}

func (c *counted) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	c.n.Add(1)
	return c.Queryer.QueryRowContext(ctx, query, args...)
}

func TestStatementsOfAnInsert(t *testing.T) {
	t.Parallel()
	want := map[oncesql.Database][2]int32{ // of a new row, and of one that is there
		oncesql.PostgreSQL: {1, 1}, oncesql.MariaDB: {1, 2}, oncesql.MySQL: {2, 2}, oncesql.SQLite: {1, 2},
	}
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		for n, want := range want[d.kind] {
			c := &counted{Queryer: d.db}
			_, _, _, err := d.pay(t.Context(), c, "a", 1, "a@example.com", "x")
			ok(t, err)
			if got := c.n.Load(); got != want {
				t.Errorf("run %d takes %d statements, want %d", n, got, want)
			}
		}
	})
}

// Somebody else makes the row when the statement has begun. It waits for that, and PostgreSQL then
// neither inserts the row nor sees it, until it looks again.
func TestInsertSeesARowThatWasMadeMeanwhile(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		if d.kind == oncesql.SQLite {
			return // one transaction at a time
		}
		other, err := d.db.Begin()
		ok(t, err)
		defer other.Rollback()
		want, _, _, err := d.pay(t.Context(), other, "a", 1, "a@example.com", "first")
		ok(t, err)
		mine, err := d.db.Begin()
		ok(t, err)
		defer mine.Rollback()
		var rows int
		ok(t, mine.QueryRow("SELECT COUNT(*) FROM payments").Scan(&rows)) // MySQL keeps to what this saw
		c := &counted{Queryer: mine}
		type answer struct {
			id       int64
			inserted bool
			err      error
		}
		answers := make(chan answer, 1)
		go func() {
			id, _, inserted, err := d.pay(context.Background(), c, "a", 1, "a@example.com", "second")
			answers <- answer{id, inserted, err}
		}()
		eventually(t, "the second waits for the first", func() bool { return d.waits(t) })
		ok(t, other.Commit())
		got := <-answers
		if d.kind != oncesql.PostgreSQL && snapshotIsolation(d.db) {
			if got.err == nil || !strings.Contains(got.err.Error(), "Error 1020 ") {
				t.Errorf("got row %d, error %v, want error 1020, by which the transaction has ended", got.id, got.err)
			}
			return
		}
		if got.err != nil || got.inserted || got.id != want {
			t.Errorf("got row %d, new: %v, error %v, want row %d", got.id, got.inserted, got.err, want)
		}
		if got := c.n.Load(); got != 2 {
			t.Errorf("it took %d statements, want 2", got)
		}
		ok(t, mine.Commit())
	})
}

// waits reports whether some transaction of this database waits for another one's lock.
func (d dialogue) waits(t *testing.T) bool {
	time.Sleep(innodbCache)
	query := transactions(t)
	if d.kind == oncesql.PostgreSQL {
		query = "SELECT count(*), count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' " +
			"AND application_name = current_setting('application_name')"
	}
	var opened, waiting int
	ok(t, d.db.QueryRow(query).Scan(&opened, &waiting))
	return waiting > 0
}

func TestInserterSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := oncesql.NewInserter(oncesql.InsertConfig{Key: []string{"a"}, Same: []string{"b"}})
	for _, part := range []string{"Database", "Table", "Columns", "Returning", "a is not", "b is not"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want it to say %q", err, part)
		}
	}
	i, err := oncesql.NewInserter(oncesql.InsertConfig{Database: oncesql.SQLite, Table: "t", Key: []string{"a"},
		Columns: []string{"a"}, Returning: []string{"a"}})
	ok(t, err)
	if _, err := i.Run(t.Context(), nil, []any{1, 2}); err == nil {
		t.Error("too many values are accepted")
	}
}
