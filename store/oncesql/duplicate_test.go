package oncesql_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	"github.com/oncehq/once/store/oncesql"
)

// duplicates are statements that fail, and by which constraint, on a table (a, b, c, d) with a as primary
// key, b unique, c not null and d checked to be positive. The last are no duplicates.
func TestDuplicateOfRealServers(t *testing.T) {
	t.Parallel()
	postgres := postgresDSN(t)
	maria := mariadbConfig(t).DSN
	host, name, _ := strings.Cut(strings.TrimPrefix(maria, "mysql://root@"), "/")
	table := "" // MySQL names it too
	if sharedServer(t).MySQL {
		table = "things."
	}
	for _, e := range []struct{ name, driver, dsn, primary, unique string }{
		{"pgx", "pgx", postgres, "things_pkey", "things_b"},
		{"lib/pq", "postgres", postgres, "things_pkey", "things_b"},
		{"MariaDB", "mysql", "root@tcp(" + host + ")/" + name, table + "PRIMARY", table + "things_b"},
		{"SQLite", "sqlite", "file:" + t.TempDir() + "/db", "things.a", "things.b"},
	} {
		t.Run(e.name, func(t *testing.T) {
			db, err := sql.Open(e.driver, e.dsn)
			ok(t, err)
			defer db.Close()
			for _, statement := range []string{
				"DROP TABLE IF EXISTS things",
				"CREATE TABLE things (a VARCHAR(100) PRIMARY KEY, b VARCHAR(100), c INTEGER NOT NULL, d INTEGER CHECK (d > 0))",
				"CREATE UNIQUE INDEX things_b ON things (b)",
				"INSERT INTO things VALUES ('it''s', 'for key ''b''', 1, 1)",
			} {
				_, err := db.Exec(statement)
				ok(t, err)
			}
			insert := func(values string) error {
				_, err := db.Exec("INSERT INTO things VALUES (" + values + ")")
				if err == nil {
					t.Fatalf("%s: no error", values)
				}
				return err
			}
			duplicate(t, insert("'it''s', 'x', 1, 1"), e.primary)
			duplicate(t, insert("'x', 'for key ''b''', 1, 1"), e.unique)
			notDuplicate(t, insert("'x', 'x', NULL, 1"))
			notDuplicate(t, insert("'x', 'x', 1, 0"))
			_, err = db.Exec("SELECT nothing")
			notDuplicate(t, err)
		})
	}
}

// duplicate checks the error, also wrapped and joined.
func duplicate(t *testing.T, err error, constraint string) {
	t.Helper()
	wrapped := fmt.Errorf("payment: %w", errors.Join(io.EOF, fmt.Errorf("insert: %w", err)))
	for _, err := range []error{err, wrapped} {
		if got, dup := oncesql.Duplicate(err); !dup || got != constraint {
			t.Errorf("%v: got %q, %v, want %q", err, got, dup, constraint)
		}
	}
}

func notDuplicate(t *testing.T, err error) {
	t.Helper()
	if got, dup := oncesql.Duplicate(fmt.Errorf("insert: %w", err)); dup || got != "" {
		t.Errorf("%v: got %q, %v, want no duplicate", err, got, dup)
	}
}

func TestDuplicateOfOtherErrors(t *testing.T) {
	t.Parallel()
	notDuplicate(t, nil)
	notDuplicate(t, io.EOF)
	notDuplicate(t, errors.New("pq: duplicate key value violates unique constraint \"things_b\""))
	notDuplicate(t, errors.New("Error 1062 (23000): Duplicate entry 'x' for key 'b'"))
	notDuplicate(t, errors.Join(sql.ErrNoRows, nil))
}
