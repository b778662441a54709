package oncepg_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// An operation with effects anywhere: it is claimed with a lease, and in doubt if its process dies.
func Example() {
	ctx, cfg := context.Background(), exampleConfig("example")
	if err := oncepg.Migrate(ctx, cfg); err != nil { // or: once migrate --store DSN
		log.Fatal(err)
	}
	store, err := oncepg.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		key := once.Key{Scope: "acme/charge", ID: "order-1042"}
		receipt, err := once.Do(ctx, guard, key, once.Fingerprint{}, func(context.Context) (string, error) {
			fmt.Println("charging the card")
			return "receipt 99", nil
		})
		fmt.Println(receipt, err)
	}
	// Output:
	// charging the card
	// receipt 99 <nil>
	// receipt 99 <nil>
}

// An operation whose effects are all in the database: they are committed with the record, so that
// no crash leaves a doubt.
func ExampleOpenTransactional() {
	ctx, cfg := context.Background(), exampleConfig("example_tx")
	pool := examplePool(ctx, cfg, "example_ledger (account text, cents bigint)")
	defer pool.Close()
	store, err := oncepg.OpenTransactional(ctx, cfg)
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
			tx, _ := oncepg.Tx(ctx)
			_, err := tx.Exec(ctx, "INSERT INTO example_ledger VALUES ('alice', -500), ('bob', 500)")
			return "moved", err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	var entries int
	err = pool.QueryRow(ctx, "SELECT count(*) FROM example_ledger").Scan(&entries)
	fmt.Println(entries, err)
	// Output: 2 <nil>
}

// Much happens before there is a transaction: the outcome is committed in it all the same.
func ExampleStore_Commit() {
	ctx, cfg := context.Background(), exampleConfig("example_commit")
	pool := examplePool(ctx, cfg, "example_scans (document text, pages int)")
	defer pool.Close()
	store, err := oncepg.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
	if err != nil {
		log.Fatal(err)
	}
	scan := func() (string, error) {
		attempt, err := guard.Begin(ctx, once.Key{Scope: "acme/scan", ID: "doc-7"}, once.Fingerprint{})
		if err != nil {
			return "", err
		}
		if out, done := attempt.Replay(); done {
			return string(out.Data) + ", as before", nil
		}
		ctx := attempt.Context()
		pages := 12 // found in minutes of work
		tx, err := pool.Begin(ctx)
		if err != nil {
			return "", errors.Join(err, attempt.Release()) // nothing has happened yet
		}
		if _, err := tx.Exec(ctx, "INSERT INTO example_scans VALUES ('doc-7', $1)", pages); err != nil {
			tx.Rollback(ctx)
			return "", errors.Join(err, attempt.Release())
		}
		out := once.Outcome{Type: "text/plain", Data: fmt.Appendf(nil, "%d pages", pages)}
		return string(out.Data), store.Commit(ctx, tx, attempt, out, time.Hour)
	}
	fmt.Println(scan())
	fmt.Println(scan())
	// Output:
	// 12 pages <nil>
	// 12 pages, as before <nil>
}

// Ids without outcomes, for streams of which a record of each message would be too much.
func ExampleStore_IDs() {
	ctx, cfg := context.Background(), exampleConfig("example_ids")
	window := oncepg.IDsConfig{Window: 7 * 24 * time.Hour} // for as long as copies can come
	if err := oncepg.Migrate(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	if err := oncepg.MigrateIDs(ctx, cfg, window); err != nil {
		log.Fatal(err)
	}
	store, err := oncepg.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	seen, err := store.IDs(ctx, window)
	if err != nil {
		log.Fatal(err)
	}
	batch := []string{"evt-1", "evt-2", "evt-1"}
	for range 2 {
		states, err := once.DoIDs(ctx, seen, "billing", batch, func(_ context.Context, fresh []int) error {
			for _, i := range fresh {
				fmt.Println("bill", batch[i])
			}
			return nil
		})
		fmt.Println(states, err)
	}
	// Output:
	// bill evt-1
	// bill evt-2
	// [claimed claimed in flight] <nil>
	// [done done done] <nil>
}

// exampleConfig is for a schema of the example's own on the server of the tests.
func exampleConfig(schema string) oncepg.Config {
	shared.once.Do(startShared)
	if shared.err != nil {
		log.Fatal(shared.err)
	}
	return oncepg.Config{DSN: shared.server.DSN, Schema: schema + "_" + once.NewOwner().String()[:8]}
}

// examplePool migrates, and makes the table of the business.
func examplePool(ctx context.Context, cfg oncepg.Config, table string) *pgxpool.Pool {
	if err := oncepg.Migrate(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	pool, err := pgxpool.New(ctx, cfg.DSN)
	if err == nil {
		_, err = pool.Exec(ctx, "DROP TABLE IF EXISTS "+strings.Fields(table)[0]+"; CREATE TABLE "+table)
	}
	if err != nil {
		log.Fatal(err)
	}
	return pool
}
