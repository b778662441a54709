package oncepg

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// idsSchema is the schema for ids, of which some lines are repeated for each table.
//
//go:embed schema/ids.sql
var idsSchema string

// notPrepared is the SQLSTATE of the functions when the present bucket has no table yet.
const notPrepared = "ON001"

// IDsSchema returns the SQL that makes what [Store.IDs] needs, beside the tables of [Schema].
// [MigrateIDs] runs the same.
func IDsSchema(schema string, cfg IDsConfig) (string, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return "", err
	}
	if schema == "" {
		schema = DefaultSchema
	}
	return idsStep(quoted(schema), cfg), nil
}

// idsStep fills in the text. A line with #n stands for one for each of the tables: of as many as
// there are buckets in a window, that which is being filled, and the next.
func idsStep(name string, cfg IDsConfig) string {
	var b strings.Builder
	for line := range strings.Lines(idsSchema) {
		if !strings.Contains(line, "#n") {
			b.WriteString(line)
			continue
		}
		for n := range cfg.Buckets + 2 {
			b.WriteString(strings.ReplaceAll(line, "#n", strconv.Itoa(n)))
		}
	}
	return strings.NewReplacer(
		"#length", strconv.FormatInt(cfg.length().Milliseconds(), 10),
		"#buckets", strconv.Itoa(cfg.Buckets),
		"#tables", strconv.Itoa(cfg.Buckets+2),
		"#state", notPrepared,
		" once.", " "+name+".",
	).Replace(b.String())
}

// MigrateIDs makes the tables and functions for ids in the store's schema, and does nothing if they
// are there. It fails if they were made for another window: the ids that are there would be forgotten
// too early or too late.
func MigrateIDs(ctx context.Context, cfg Config, ids IDsConfig) error {
	cfg, ids = cfg.withDefaults(), ids.withDefaults()
	if err := errors.Join(cfg.check(), ids.check()); err != nil {
		return err
	}
	pool, done, err := cfg.connect(ctx, func(*pgxpool.Config) {})
	if err != nil {
		return err
	}
	defer done()
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := migrate(ctx, tx, cfg.Schema); err != nil {
			return fmt.Errorf("oncepg: schema %q could not be brought to version %d: %w", cfg.Schema, schemaVersion, err)
		}
		err := checkIDLayout(ctx, tx, cfg.Schema, ids)
		if !errors.Is(err, errNoIDs) {
			return err
		}
		if _, err := tx.Exec(ctx, idsStep(quoted(cfg.Schema), ids), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("oncepg: the tables for ids could not be made: %w", err)
		}
		return nil
	})
	return explain(err)
}

var errNoIDs = errors.New("oncepg: the tables for ids are not in this database; call oncepg.MigrateIDs")

// checkIDLayout compares what the tables were made for.
func checkIDLayout(ctx context.Context, db queryer, schema string, cfg IDsConfig) error {
	table := pgx.Identifier{schema, "id_layout"}.Sanitize()
	var there bool
	err := db.QueryRow(ctx, "SELECT to_regclass($1::text) IS NOT NULL", table).Scan(&there)
	switch {
	case err != nil:
		return explain(err)
	case !there:
		return errNoIDs
	}
	var length int64
	var buckets int
	if err := db.QueryRow(ctx, "SELECT length_ms, buckets FROM "+table).Scan(&length, &buckets); err != nil {
		return explain(err)
	}
	if length != cfg.length().Milliseconds() || buckets != cfg.Buckets {
		return fmt.Errorf("oncepg: the tables for ids were made for %d buckets of %v, and not for %d of %v; "+
			"use the same Window and Buckets, or another schema",
			buckets, time.Duration(length)*time.Millisecond, cfg.Buckets, cfg.length())
	}
	return nil
}

// turnOften prepares tables ahead of time until ctx is done. An error is left to the next time, and
// to the calls, which do it themselves if need be.
func (ids *IDs) turnOften(ctx context.Context) {
	t := time.NewTicker(min(max(ids.cfg.length()/4, 100*time.Millisecond), time.Hour))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			ids.turn(ctx)
		}
	}
}
