//go:build cgo

package drivers_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for _, statement := range []string{
		"CREATE TABLE things (a VARCHAR(100) PRIMARY KEY, b VARCHAR(100) UNIQUE, c INTEGER NOT NULL, d INTEGER CHECK (d > 0))",
		"INSERT INTO things VALUES ('it''s', 'for key ''b''', 1, 1)",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func TestDuplicateKnowsMattn(t *testing.T) {
	t.Parallel()
	db := open(t)
	for values, want := range map[string]string{
		"'it''s', 'x', 1, 1":         "things.a",
		"'x', 'for key ''b''', 1, 1": "things.b",
		"'x', 'x', NULL, 1":          "",
		"'x', 'x', 1, 0":             "",
	} {
		_, err := db.Exec("INSERT INTO things VALUES (" + values + ")")
		if err == nil {
			t.Fatalf("%s: no error", values)
		}
		for _, err := range []error{err, fmt.Errorf("payment: %w", errors.Join(io.EOF, err))} {
			if got, dup := oncesql.Duplicate(err); got != want || dup != (want != "") {
				t.Errorf("%v: got %q, %v, want %q", err, got, dup, want)
			}
		}
	}
}

func TestInserterWorksWithMattn(t *testing.T) {
	t.Parallel()
	db := open(t)
	things, err := oncesql.NewInserter(oncesql.InsertConfig{
		Database: oncesql.SQLite, Table: "things", Key: []string{"a"},
		Columns: []string{"a", "b", "c"}, Returning: []string{"c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range []int{5, 5, 6} {
		var got int
		inserted, err := things.Run(t.Context(), db, []any{"key", nil, c}, &got)
		if n == 2 {
			if !errors.Is(err, once.ErrMismatch) {
				t.Errorf("another request: got %v, want ErrMismatch", err)
			}
			continue
		}
		if err != nil || inserted != (n == 0) || got != 5 {
			t.Errorf("run %d: new: %v, got %d, error %v", n, inserted, got, err)
		}
	}
}
