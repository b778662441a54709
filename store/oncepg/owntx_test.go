package oncepg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// What is completed in a transaction is on disk when that is committed, whatever its session says.
func TestCallersOwnTransactionWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	s, ids, b := open(t, cfg), openIDs(t, cfg, day), newBusiness(t, cfg.DSN)
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold})
	ok(t, err)
	a, err := g.Begin(t.Context(), key("a"), once.Fingerprint{})
	ok(t, err)
	for name, complete := range map[string]func(pgx.Tx) error{
		"a record": func(tx pgx.Tx) error { return s.CompleteTx(t.Context(), tx, a, outcome("o"), long) },
		"ids":      func(tx pgx.Tx) error { return second(ids.CompleteTx(t.Context(), tx, "s", []string{"i"})) },
	} {
		tx, err := b.pool.Begin(t.Context())
		ok(t, err)
		defer tx.Rollback(context.Background())
		_, err = tx.Exec(t.Context(), "SET LOCAL synchronous_commit TO off")
		ok(t, err)
		ok(t, complete(tx))
		var got string
		if err := tx.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&got); err != nil || got != "on" {
			t.Errorf("with %s completed the transaction's synchronous_commit is %s, %v", name, got, err)
		}
	}
}

// A forgetfulTx loses its connection before the COMMIT, while an operator makes the store forget
// the claim.
type forgetfulTx struct {
	pgx.Tx
	before func()
}

func (x forgetfulTx) Commit(ctx context.Context) error {
	x.before()
	return errors.New("the connection is lost")
}

func (x forgetfulTx) Rollback(context.Context) error { return nil }

// A claim that an operator has had forgotten was not released by a completion that keeps nothing.
func TestForgottenClaimIsNotTakenForCompleted(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s, b := open(t, cfg), newBusiness(t, cfg.DSN)
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold})
	ok(t, err)
	for name, retention := range map[string]time.Duration{"kept": long, "not kept": 0} {
		a, err := g.Begin(t.Context(), key(name), once.Fingerprint{})
		ok(t, err)
		conn, err := pgx.Connect(t.Context(), cfg.DSN)
		ok(t, err)
		tx, err := conn.Begin(t.Context())
		ok(t, err)
		_, err = tx.Exec(t.Context(), "INSERT INTO "+b.table+" (name) VALUES ($1)", name)
		ok(t, err)
		lost := forgetfulTx{tx, func() {
			ok(t, conn.Close(t.Context()))
			ok(t, s.Forget(t.Context(), a.Key(), a.Owner()))
		}}
		if err := s.Commit(t.Context(), lost, a, outcome("o"), retention); !errors.Is(err, once.ErrLost) {
			t.Errorf("%s: commit: got %v, want ErrLost", name, err)
		}
		if n := b.count(t, name); n != 0 {
			t.Errorf("%s: there are %d effects, want none", name, n)
		}
	}
}
