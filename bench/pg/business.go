package main

import (
	"context"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/store/oncepg"
)

// accounts is how many there are to transfer between.
const accounts = 10_000

func makeBusiness(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, `
CREATE TABLE payments (id text NOT NULL, amount bigint NOT NULL, created timestamptz NOT NULL DEFAULT now());
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50);`)
	if err == nil {
		_, err = pool.Exec(ctx, "INSERT INTO accounts SELECT n, 0 FROM generate_series(1, $1::bigint) n", accounts)
	}
	return err
}

// businesses are what operations do in their transactions.
var businesses = []struct {
	name string
	do   func(context.Context, pgx.Tx) error
}{
	{"one INSERT", insertPayment},
	{"a transfer (2 UPDATEs, SELECT, INSERT)", transfer},
}

func insertPayment(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "INSERT INTO payments (id, amount) VALUES ($1, 42)", contest.NewID())
	return err
}

// transfer takes from one account and gives to another, the lower one first.
func transfer(ctx context.Context, tx pgx.Tx) error {
	from := rand.Int64N(accounts-1) + 1
	to := from + 1 + rand.Int64N(accounts-from)
	for _, side := range [][2]int64{{from, -42}, {to, 42}} {
		if _, err := tx.Exec(ctx, "UPDATE accounts SET balance = balance + $2 WHERE id = $1", side[0], side[1]); err != nil {
			return err
		}
	}
	var balance int64
	if err := tx.QueryRow(ctx, "SELECT balance FROM accounts WHERE id = $1", from).Scan(&balance); err != nil {
		return err
	}
	return insertPayment(ctx, tx)
}

// recorded is an operation of a transactional store's.
func recorded(ctx context.Context, store *oncepg.Transactional, do func(context.Context, pgx.Tx) error, out once.Outcome) error {
	c := contest.NewClaim(contest.NewID())
	rec, err := store.Claim(ctx, c)
	if err != nil {
		return err
	}
	tx, _ := oncepg.Tx(store.Bind(ctx, rec))
	if err := do(ctx, tx); err != nil {
		return err
	}
	return store.Complete(ctx, c.Key, c.Owner, out, contest.Retention)
}

// alone is the same without a record.
func alone(ctx context.Context, pool *pgxpool.Pool, do func(context.Context, pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return do(ctx, tx) })
}
