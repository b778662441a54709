package oncesql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

// An operation whose effects are all in the database: they are committed with the record, so that
// no crash leaves a doubt. With a mysql DSN it is the same.
func ExampleOpenTransactional() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "once-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "db")
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec("CREATE TABLE ledger (account TEXT, cents INTEGER)")
	}
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	cfg := oncesql.Config{DSN: "sqlite:" + path}
	if err := oncesql.Migrate(ctx, cfg); err != nil { // or: once migrate --store DSN
		log.Fatal(err)
	}
	store, err := oncesql.OpenTransactional(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		key := once.Key{Scope: "acme/transfer", ID: "t-1"}
		_, err := once.Do(ctx, guard, key, once.Fingerprint{}, func(ctx context.Context) (string, error) {
			tx, _ := oncesql.Tx(ctx)
			_, err := tx.ExecContext(ctx, "INSERT INTO ledger VALUES ('alice', -500), ('bob', 500)")
			return "moved", err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	var entries int
	err = db.QueryRow("SELECT count(*) FROM ledger").Scan(&entries)
	fmt.Println(entries, err)
	// Output: 2 <nil>
}
