package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// A database is a PostgreSQL of our own.
type database struct {
	server *servers.PostgresServer
	pool   *pgxpool.Pool
	tables string // those that hold ids, as a regular expression
}

func startDatabase(tables string) (*database, error) {
	s, err := servers.StartPostgres()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.New(context.Background(), s.DSN)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &database{s, pool, tables}, nil
}

func (d *database) stop() {
	d.pool.Close()
	d.server.Close()
}

// cost returns the size of tables and indexes.
func (d *database) cost() (disk, memory int64, err error) {
	err = d.pool.QueryRow(context.Background(),
		"SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class WHERE relkind = 'r' AND relname ~ $1",
		d.tables).Scan(&disk)
	return disk, 0, err
}

// tables is the store of ids.
type tables struct {
	*oncepg.IDs
	*database
	store *oncepg.Store
}

func openPostgres(int64) (subject, error) {
	d, err := startDatabase("^ids_[0-9]+$")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	cfg, ids := oncepg.Config{DSN: d.server.DSN}, oncepg.IDsConfig{Window: 30 * 24 * time.Hour}
	t := &tables{database: d}
	if err = oncepg.MigrateIDs(ctx, cfg, ids); err == nil {
		if t.store, err = oncepg.Open(ctx, cfg); err == nil {
			t.IDs, err = t.store.IDs(ctx, ids)
		}
	}
	if err != nil {
		d.stop()
		return nil, err
	}
	return t, nil
}

func (d *database) age() error { return nil } // any instant will do as the end of the window

// forget truncates the table, as is done when it is used for another bucket.
func (t *tables) forget() error {
	_, err := t.pool.Exec(context.Background(), "DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass FROM pg_class "+
		"WHERE relkind = 'r' AND relname ~ '^ids_[0-9]+$' LOOP EXECUTE 'TRUNCATE ' || t; END LOOP; END $$")
	return err
}

func (t *tables) close() {
	t.store.Close()
	t.stop()
}

// inbox is the table that most programs have: a row for each id, with its time.
type inbox struct{ *database }

func openInbox(int64) (subject, error) {
	d, err := startDatabase("^inbox$")
	if err != nil {
		return nil, err
	}
	_, err = d.pool.Exec(context.Background(),
		"CREATE TABLE inbox (scope text, id text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (scope, id))")
	return inbox{d}, err
}

func (i inbox) ClaimIDs(ctx context.Context, scope string, _ once.Owner, ids []string) ([]once.IDState, error) {
	rows, err := i.pool.Query(ctx, "INSERT INTO inbox (scope, id) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING RETURNING id",
		scope, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	fresh := make(map[string]bool)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		fresh[id] = true
	}
	states := make([]once.IDState, len(ids))
	for n, id := range ids {
		if states[n] = once.IDDone; fresh[id] {
			states[n] = once.IDClaimed
		}
	}
	return states, rows.Err()
}

// CompleteIDs does nothing for ids that were claimed: marking them first is all there is to it.
func (i inbox) CompleteIDs(ctx context.Context, scope string, o once.Owner, ids []string) error {
	_, err := i.ClaimIDs(ctx, scope, o, ids)
	return err
}

func (i inbox) ReleaseIDs(context.Context, string, once.Owner, []string) error {
	return errors.ErrUnsupported
}

// forget deletes the rows, and leaves the rest to vacuum, which is not measured.
func (i inbox) forget() error {
	_, err := i.pool.Exec(context.Background(), "DELETE FROM inbox WHERE at <= now()")
	return err
}

func (i inbox) close() { i.stop() }
