package oncepg_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// An id that a transaction is completing is waited for also by those that come in a later bucket.
func TestIDsInTransactionsOfDifferentBuckets(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	window := oncepg.IDsConfig{Window: 30 * time.Second, Buckets: 5}
	migratedIDs(t, cfg, window)
	s := openIDs(t, cfg, window)
	pool, err := pgxpool.New(t.Context(), cfg.DSN)
	ok(t, err)
	t.Cleanup(pool.Close)
	bucket := func() (n int64) {
		t.Helper()
		ok(t, pool.QueryRow(t.Context(), "SELECT "+cfg.Schema+".id_bucket()").Scan(&n))
		return n
	}
	begun := func() pgx.Tx {
		t.Helper()
		tx, err := pool.Begin(t.Context())
		ok(t, err)
		t.Cleanup(func() { tx.Rollback(context.Background()) })
		return tx
	}
	complete := func(tx pgx.Tx, names ...string) string {
		fresh, err := s.CompleteTx(t.Context(), tx, "s", names)
		return fmt.Sprint(fresh, err)
	}
	for now := bucket(); bucket() == now; time.Sleep(20 * time.Millisecond) {
		// until there is a whole bucket's time
	}
	_, err = pool.Exec(t.Context(), "SELECT "+cfg.Schema+".turn_ids()") // open transactions may keep it from others
	ok(t, err)
	committed, rolledBack := begun(), begun()
	for name, tx := range map[string]pgx.Tx{"a": committed, "b": rolledBack} {
		if got := complete(tx, name); got != "[true] <nil>" {
			t.Fatalf("the first with %s got %s", name, got)
		}
	}
	for now := bucket(); bucket() == now; time.Sleep(20 * time.Millisecond) {
		// until the next
	}
	second := map[string]chan string{}
	for _, name := range []string{"a", "b"} {
		tx, got := begun(), make(chan string, 1)
		second[name] = got
		go func() { got <- complete(tx, "other "+name, name) }()
	}
	select {
	case got := <-second["a"]:
		t.Fatalf("the second with a did not wait, and got %v", got)
	case got := <-second["b"]:
		t.Fatalf("the second with b did not wait, and got %v", got)
	case <-time.After(300 * time.Millisecond):
	}
	ok(t, committed.Commit(t.Context()))
	ok(t, rolledBack.Rollback(t.Context()))
	for name, want := range map[string]string{"a": "[true false] <nil>", "b": "[true true] <nil>"} {
		if got := <-second[name]; got != want {
			t.Errorf("the second with %s got %s, want %s", name, got, want)
		}
	}
}

// A transaction that stays open does not keep others from their ids when tables are turned.
func TestIDsAreNotStoppedByAnOpenTransaction(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	window := oncepg.IDsConfig{Window: 12 * time.Second, Buckets: 4}
	migratedIDs(t, cfg, window)
	cfg.Timeout = time.Minute
	s := openIDs(t, cfg, window)
	pool, err := pgxpool.New(t.Context(), cfg.DSN)
	ok(t, err)
	t.Cleanup(pool.Close)
	tx, err := pool.Begin(t.Context())
	ok(t, err)
	t.Cleanup(func() { tx.Rollback(context.Background()) })
	if _, err := s.CompleteTx(t.Context(), tx, "s", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 7*time.Second; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		_, err := s.ClaimIDs(ctx, "s", once.NewOwner(), []string{fmt.Sprint(began)})
		if cancel(); err != nil {
			t.Fatalf("a claim, after %v: %v", time.Since(began), err)
		}
	}
}

// A role's or a database's settings do not weaken what is acknowledged.
func TestIDsOverruleTheSettingsOfTheRole(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	cfg.DSN += "&synchronous_commit=off&default_transaction_isolation=serializable&default_transaction_read_only=on"
	s := openIDs(t, cfg, day)
	o := once.NewOwner()
	states, err := s.ClaimIDs(t.Context(), "s", o, []string{"a", "b"})
	if err != nil || fmt.Sprint(states) != "[claimed claimed]" {
		t.Fatalf("claim: %v, %v", states, err)
	}
	ok(t, s.CompleteIDs(t.Context(), "s", o, []string{"a"}))
	ok(t, s.ReleaseIDs(t.Context(), "s", o, []string{"b"}))
	states, err = s.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a", "b"})
	if err != nil || fmt.Sprint(states) != "[done claimed]" {
		t.Errorf("claim: %v, %v", states, err)
	}
}

// Who completes ids holds their table by a lock of its own: to lock the bucket's row would make a
// MultiXact of all who complete at the same time.
func TestIDsHoldTheirTableWithoutLockingRows(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	s, b := openIDs(t, cfg, day), newBusiness(t, cfg.DSN)
	completing, err := b.pool.Begin(t.Context())
	ok(t, err)
	defer completing.Rollback(context.Background())
	_, err = s.CompleteTx(t.Context(), completing, "s", []string{"a"})
	ok(t, err)
	if err := b.exec("SELECT FROM " + cfg.Schema + ".id_buckets FOR UPDATE NOWAIT"); err != nil {
		t.Errorf("rows of buckets are locked: %v", err)
	}
	ok(t, completing.Rollback(t.Context()))

	// The lock alone, before anything is added, keeps the table from being turned.
	ok(t, b.exec("UPDATE "+cfg.Schema+".id_buckets SET bucket = -1 WHERE bucket <> "+cfg.Schema+".id_bucket()"))
	next := "SELECT ((" + cfg.Schema + ".id_bucket() + 1) % 10)::integer"
	tx, err := b.pool.Begin(t.Context())
	ok(t, err)
	defer tx.Rollback(context.Background())
	_, err = tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock_shared((SELECT tableoid FROM "+cfg.Schema+
		".id_buckets LIMIT 1)::bigint::bit(32)::integer, ("+next+"))")
	ok(t, err)
	turn := func() error { return b.exec("SELECT " + cfg.Schema + ".turn_ids()") }
	if err := turn(); err == nil {
		t.Error("a table is turned that somebody is about to add to")
	}
	ok(t, tx.Rollback(t.Context()))
	ok(t, turn())
}
