package oncesql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/oncehq/once/store/oncesql"
)

// Upserts that may be repeated, and whose order does not matter, as docs/DATABASES.md gives them.
// What is said for SQLite holds for PostgreSQL as well, with its marks.
var (
	// newestWins keeps the newest version of what is copied from elsewhere. MySQL and MariaDB set
	// columns one after the other: what the others depend on comes last.
	newestWins = map[oncesql.Database]string{
		oncesql.PostgreSQL: `
INSERT INTO stock (sku, version, units) VALUES ($1, $2, $3)
ON CONFLICT (sku) DO UPDATE SET version = excluded.version, units = excluded.units
WHERE stock.version < excluded.version`,
		oncesql.SQLite: `
INSERT INTO stock (sku, version, units) VALUES (?, ?, ?)
ON CONFLICT (sku) DO UPDATE SET version = excluded.version, units = excluded.units
WHERE stock.version < excluded.version`,
		oncesql.MySQL: `
INSERT INTO stock (sku, version, units) VALUES (?, ?, ?)
ON DUPLICATE KEY UPDATE
	units   = IF(version < VALUES(version), VALUES(units), units),
	version = GREATEST(version, VALUES(version))`,
	}

	// bookOnce books a transfer, and adds it to the balance only if it was not booked before. With
	// PostgreSQL that is one statement; the others take a transaction of three.
	bookOnce = map[oncesql.Database][]string{
		oncesql.PostgreSQL: {`
WITH booked AS (
	INSERT INTO bookings (transaction_id, account, cents) VALUES ($1, $2, $3)
	ON CONFLICT (transaction_id) DO NOTHING
	RETURNING account, cents
)
INSERT INTO balances (account, cents) SELECT account, cents FROM booked
ON CONFLICT (account) DO UPDATE SET cents = balances.cents + excluded.cents`},
		oncesql.SQLite: {`
INSERT INTO bookings (transaction_id, account, cents) VALUES (?, ?, ?)
ON CONFLICT (transaction_id) DO NOTHING`, `
INSERT INTO balances (account, cents) VALUES (?, ?)
ON CONFLICT (account) DO UPDATE SET cents = balances.cents + excluded.cents`},
		oncesql.MySQL: {`
INSERT INTO bookings (transaction_id, account, cents) VALUES (?, ?, ?)`, `
INSERT INTO balances (account, cents) VALUES (?, ?)
ON DUPLICATE KEY UPDATE cents = cents + VALUES(cents)`},
	}
)

// language is that of the recipes for the database.
func (d dialogue) language() oncesql.Database {
	if d.kind == oncesql.MariaDB {
		return oncesql.MySQL
	}
	return d.kind
}

func TestNewestVersionWinsInAnyOrder(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		d.exec(t, "DROP TABLE IF EXISTS stock",
			"CREATE TABLE stock (sku VARCHAR(50) PRIMARY KEY, version BIGINT NOT NULL, units INTEGER NOT NULL)")
		for round := range 20 {
			sku := fmt.Sprint("sku-", round)
			for _, version := range append(rand.Perm(5), rand.Perm(5)...) { // each comes twice
				_, err := d.db.Exec(newestWins[d.language()], sku, version, 100+version)
				ok(t, err)
			}
			var version, units int
			ok(t, d.db.QueryRow("SELECT version, units FROM stock WHERE sku = '"+sku+"'").Scan(&version, &units))
			if version != 4 || units != 104 {
				t.Errorf("%s has version %d with %d units, want 4 with 104", sku, version, units)
			}
		}
	})
}

func TestTransferIsBookedOnce(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, d dialogue) {
		d.exec(t, "DROP TABLE IF EXISTS bookings", "DROP TABLE IF EXISTS balances",
			"CREATE TABLE bookings (transaction_id VARCHAR(50) PRIMARY KEY, account VARCHAR(50) NOT NULL, cents BIGINT NOT NULL)",
			"CREATE TABLE balances (account VARCHAR(50) PRIMARY KEY, cents BIGINT NOT NULL)")
		for n := range 10 {
			for range 3 {
				ok(t, d.book(t.Context(), fmt.Sprint("t-", n), "a", 100+n))
			}
		}
		var cents int
		ok(t, d.db.QueryRow("SELECT cents FROM balances WHERE account = 'a'").Scan(&cents))
		if cents != 1045 {
			t.Errorf("the balance is %d, want 1045", cents)
		}
	})
}

// book follows the recipe.
func (d dialogue) book(ctx context.Context, transactionID, account string, cents int) error {
	recipe := bookOnce[d.language()]
	if d.kind == oncesql.PostgreSQL {
		_, err := d.db.ExecContext(ctx, recipe[0], transactionID, account, cents)
		return err
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	res, err := tx.ExecContext(ctx, recipe[0], transactionID, account, cents)
	if constraint, dup := oncesql.Duplicate(err); dup && strings.TrimPrefix(constraint, "bookings.") == "PRIMARY" {
		return nil // MySQL, which names the table too, and MariaDB: it is booked
	}
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err // SQLite: it is booked
	}
	if _, err := tx.ExecContext(ctx, recipe[1], account, cents); err != nil {
		return err
	}
	return tx.Commit()
}

func (d dialogue) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := d.db.Exec(statement)
		ok(t, err)
	}
}

// The newest version wins although the messages that tell of it come twice and in any order.
func Example_newestVersionWins() {
	db, cleanUp := exampleDB("CREATE TABLE stock (sku TEXT PRIMARY KEY, version INTEGER NOT NULL, units INTEGER NOT NULL)")
	defer cleanUp()
	const upsert = `
		INSERT INTO stock (sku, version, units) VALUES (?, ?, ?)
		ON CONFLICT (sku) DO UPDATE SET version = excluded.version, units = excluded.units
		WHERE stock.version < excluded.version`
	for _, message := range [][2]int{{1, 10}, {3, 7}, {2, 9}, {3, 7}} {
		if _, err := db.Exec(upsert, "apples", message[0], message[1]); err != nil {
			panic(err)
		}
	}
	var version, units int
	if err := db.QueryRow("SELECT version, units FROM stock").Scan(&version, &units); err != nil {
		panic(err)
	}
	fmt.Printf("version %d: %d apples\n", version, units)
	// Output: version 3: 7 apples
}
