package main

import (
	"context"
	"database/sql"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite"

	"github.com/oncehq/once"
	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/store/oncesql"
)

// A target is a database for bare writes.
type target struct {
	dsn          string // of a store, to make the table
	driver, name string
	conns        int
}

// bare writes into a store's table without the store.
type bare struct {
	db             *sql.DB
	insert, update *sql.Stmt
}

func openBare(ctx context.Context, t target) (*bare, error) {
	if err := oncesql.Migrate(ctx, oncesql.Config{DSN: t.dsn}); err != nil {
		return nil, err
	}
	db, err := sql.Open(t.driver, t.name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(t.conns)
	db.SetMaxIdleConns(t.conns)
	b := &bare{db: db}
	b.insert, err = db.PrepareContext(ctx, `INSERT INTO once_records
		(scope, id, fence, created, lease_end, expires, forget, attempt, state, failed, owner, fingerprint)
		VALUES (?, ?, ?, ?, ?, ?, ?, 1, 1, 0, ?, ?)`)
	if err == nil {
		b.update, err = db.PrepareContext(ctx, `UPDATE once_records
			SET state = 2, expires = ?, media_type = ?, outcome = ? WHERE scope = ? AND id = ?`)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return b, nil
}

// operation writes what a claim and a completion write.
func (b *bare) operation(ctx context.Context, out once.Outcome) error {
	c := contest.NewClaim(contest.NewID())
	key := []any{[]byte(c.Key.Scope), []byte(c.Key.ID)}
	now := time.Now().UnixMicro()
	in := func(d time.Duration) int64 { return now + d.Microseconds() }
	_, err := b.insert.ExecContext(ctx, append(key, now, now, in(c.Lease), in(c.Lease+c.Forget),
		c.Forget.Microseconds(), c.Owner[:], c.Fingerprint[:])...)
	if err != nil {
		return err
	}
	_, err = b.update.ExecContext(ctx, append([]any{in(contest.Retention), []byte(out.Type), out.Data}, key...)...)
	return err
}

func makeDatabase(addr, name string) error {
	db, err := sql.Open("mysql", "root@tcp("+addr+")/")
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec("CREATE DATABASE " + name)
	return err
}
