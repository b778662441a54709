package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/store/oncepg"
)

// statements are what the store sends for an operation, with their arguments.
type statements struct{ claim, complete pgx.TraceQueryStartData }

// record has a store carry out an operation, and listens.
func record(ctx context.Context, dsn string, out once.Outcome) (statements, error) {
	pc, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return statements{}, err
	}
	var heard tracer
	pc.ConnConfig.Tracer = &heard
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return statements{}, err
	}
	defer pool.Close()
	store, err := oncepg.Open(ctx, oncepg.Config{Pool: pool, Sweep: -1})
	if err != nil {
		return statements{}, err
	}
	defer store.Close()
	heard = nil
	if err := contest.Fresh(ctx, store, contest.NewID(), out); err != nil {
		return statements{}, err
	}
	if len(heard) != 2 {
		return statements{}, fmt.Errorf("the store sent %d statements for a claim and a completion, not two", len(heard))
	}
	return statements{heard[0], heard[1]}, nil
}

// tracer keeps the statements that are sent. It is for one connection at a time.
type tracer []pgx.TraceQueryStartData

func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	*t = append(*t, data)
	return ctx
}

func (t *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// operation sends the statements of an operation singly. It reads what the store would read.
func (s statements) operation(ctx context.Context, pool *pgxpool.Pool, id string) error {
	owner := pgtype.UUID{Bytes: once.NewOwner(), Valid: true}
	claim := append([]any{}, s.claim.Args...)
	claim[1], claim[3] = []byte(id), owner
	if err := scan(ctx, pool, s.claim.SQL, claim); err != nil {
		return err
	}
	complete := append([]any{}, s.complete.Args...)
	complete[1], complete[2] = []byte(id), owner
	return pool.QueryRow(ctx, s.complete.SQL, complete...).Scan(nil)
}

func (s statements) replay(ctx context.Context, pool *pgxpool.Pool, id string) error {
	claim := append([]any{}, s.claim.Args...)
	claim[1], claim[3] = []byte(id), pgtype.UUID{Bytes: once.NewOwner(), Valid: true}
	return scan(ctx, pool, s.claim.SQL, claim)
}

// scan reads a row of a claim's.
func scan(ctx context.Context, pool *pgxpool.Pool, sql string, args []any) error {
	var (
		state                          int16
		attempt                        int32
		fence                          int64
		owner                          pgtype.UUID
		fingerprint, mediaType, data   []byte
		failed                         bool
		created, leaseEnd, expires, at pgtype.Timestamptz
	)
	return pool.QueryRow(ctx, sql, args...).Scan(&state, &attempt, &fence, &owner, &fingerprint, &failed,
		&mediaType, &data, &created, &leaseEnd, &expires, &at, nil)
}
