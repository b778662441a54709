package oncepg

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The schema is built in steps, one file each. A step that was released never changes.
//
//go:embed schema/*.sql
var steps embed.FS

// schemaVersion is the last step.
const schemaVersion = 1

// Schema returns the SQL that makes everything the store needs, in the database schema of that
// name (empty: [DefaultSchema]). [Migrate] runs the same; it is for those who let nobody
// but themselves change a database.
func Schema(schema string) string {
	if schema == "" {
		schema = DefaultSchema
	}
	var b strings.Builder
	b.WriteString("BEGIN;\n\n")
	for v := 1; v <= schemaVersion; v++ {
		b.WriteString(step(v, schema))
		b.WriteString("\n")
	}
	b.WriteString("COMMIT;\n")
	return b.String()
}

// step returns the SQL that leads from version v-1 to v.
func step(v int, schema string) string {
	text, err := steps.ReadFile("schema/" + strconv.Itoa(v) + ".sql")
	if err != nil {
		panic(err) // the files are part of the program
	}
	name := quoted(schema)
	return strings.NewReplacer(
		"SCHEMA IF NOT EXISTS once;", "SCHEMA IF NOT EXISTS "+name+";",
		" once.", " "+name+".",
	).Replace(string(text))
}

// quoted returns the schema's name for SQL.
func quoted(schema string) string {
	if schema == DefaultSchema {
		return schema // for those who read it
	}
	return pgx.Identifier{schema}.Sanitize()
}

// Migrate brings the schema to the version that this package needs, and does nothing if it is
// there. Several processes may do so at the same time. It needs the right to create tables; the
// store itself does with those to read and write them, see docs/STORES.md.
func Migrate(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	pool, done, err := cfg.connect(ctx, func(*pgxpool.Config) {})
	if err != nil {
		return err
	}
	defer done()
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return migrate(ctx, tx, cfg.Schema) })
	if cut := noConnection(err); cut != nil {
		return cut
	}
	if err != nil {
		return fmt.Errorf("oncepg: schema %q could not be brought to version %d: %w",
			cfg.Schema, schemaVersion, err)
	}
	return nil
}

func migrate(ctx context.Context, tx pgx.Tx, schema string) error {
	// The number is arbitrary, and serves to keep out another migration only.
	const lock = 0x6f6e6365
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", int64(lock)); err != nil {
		return err
	}
	version, err := installed(ctx, tx, schema)
	if err != nil {
		return err
	}
	if version > schemaVersion {
		return errNewer(schema, version)
	}
	for v := version + 1; v <= schemaVersion; v++ {
		// Without arguments pgx sends the text as it is, several statements in one.
		if _, err := tx.Exec(ctx, step(v, schema), pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// installed returns the version of the schema that is there, or 0.
func installed(ctx context.Context, db queryer, schema string) (int, error) {
	table := pgx.Identifier{schema, "schema_version"}.Sanitize()
	var there bool
	err := db.QueryRow(ctx, "SELECT to_regclass($1::text) IS NOT NULL", table).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	var version *int
	err = db.QueryRow(ctx, "SELECT max(version) FROM "+table).Scan(&version)
	if err == nil && version == nil {
		return 0, fmt.Errorf("its version is gone; if all else is there put it back: INSERT INTO %s.schema_version VALUES (%d)",
			quoted(schema), schemaVersion)
	}
	if err != nil {
		return 0, err
	}
	return *version, nil
}

// checkSchema returns an error with the way out unless the schema has the right version.
func checkSchema(ctx context.Context, db queryer, schema string) error {
	version, err := installed(ctx, db, schema)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == insufficientPrivilege {
		return fmt.Errorf("oncepg: schema %q may not be read; grant USAGE on it and on its sequence, and "+
			"SELECT, INSERT, UPDATE and DELETE on its tables: %w", schema, err)
	}
	switch {
	case err != nil:
		return fmt.Errorf("oncepg: schema %q could not be read: %w", schema, err)
	case version == 0:
		return fmt.Errorf("oncepg: schema %q is not in this database; run once migrate --store DSN, "+
			"or call oncepg.Migrate", schema)
	case version < schemaVersion:
		return fmt.Errorf("oncepg: schema %q has version %d, and this program needs %d; "+
			"run once migrate --store DSN, or call oncepg.Migrate", schema, version, schemaVersion)
	case version > schemaVersion:
		return errNewer(schema, version)
	}
	return nil
}

func errNewer(schema string, version int) error {
	return fmt.Errorf("oncepg: schema %q has version %d, and this program knows only %d; "+
		"use a newer release", schema, version, schemaVersion)
}
