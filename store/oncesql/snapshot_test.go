package oncesql_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncesql"
)

// What has changed since an operation's first look MariaDB refuses to change, if it is set to, as
// newer versions are by default. It undoes the whole transaction then.
func TestOperationsThatLookedTooEarlyRunAgain(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbOn(t, servers.MariaDB(t, "loose_innodb_snapshot_isolation = ON")))
	b := newBusiness(t, cfg)
	g := guardOver(t, openTransactional(t, cfg))
	ok(t, second(b.db.Exec("INSERT INTO business (name) VALUES ('seen'), ('unseen')")))
	ok(t, second(b.db.Exec("CREATE UNIQUE INDEX names ON business (name)")))
	operation := func(row string, look bool) (runs int) {
		_, err := once.Do(t.Context(), g, key(row), once.Fingerprint{}, func(ctx context.Context) (int, error) {
			runs++
			tx, _ := oncesql.Tx(ctx)
			if look {
				var n int
				if err := tx.QueryRowContext(ctx, "SELECT n FROM business WHERE name = ?", row).Scan(&n); err != nil {
					return 0, err
				}
			}
			ok(t, b.add(ctx, row+" by run"))
			if runs == 1 {
				ok(t, second(b.db.Exec("UPDATE business SET n = n + 10 WHERE name = ?", row)))
			}
			_, err := tx.ExecContext(ctx, "UPDATE business SET n = n + 1 WHERE name = ?", row)
			return 0, err
		})
		ok(t, err)
		var n int
		ok(t, b.db.QueryRow("SELECT n FROM business WHERE name = ?", row).Scan(&n))
		if made := b.count(t, row+" by run"); n != 11 || made != 1 {
			t.Errorf("%s: n is %d, and %d rows were made by %d runs, want 11 and 1", row, n, made, runs)
		}
		return runs
	}
	want := 1
	if snapshotIsolation(b.db) {
		want = 2
	}
	if runs := operation("seen", true); runs != want {
		t.Errorf("an operation that has looked ran %d times, want %d", runs, want)
	}
	if runs := operation("unseen", false); runs != 1 { // the store's own look must not count
		t.Errorf("an operation that has not looked ran %d times, want once", runs)
	}
}

// snapshotIsolation reports whether a server refuses to change what has changed since the first look.
func snapshotIsolation(db *sql.DB) bool {
	var name, value string
	err := db.QueryRow("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'").Scan(&name, &value)
	return err == nil && value == "ON"
}
