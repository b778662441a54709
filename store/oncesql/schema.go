package oncesql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The schemas are built in steps, one file each. A step that was released never changes.
//
//go:embed schema/*.sql
var steps embed.FS

// schemaVersion is the last step.
const schemaVersion = 1

// Schema returns the SQL that makes everything the store needs. The scheme is that of a DSN:
// "sqlite" or "mysql". [Migrate] runs the same; it is for those who let nobody but themselves change a database.
func Schema(scheme string) (string, error) {
	if scheme == "mariadb" {
		scheme = "mysql"
	}
	var b strings.Builder
	for v := 1; v <= schemaVersion; v++ {
		text, err := steps.ReadFile("schema/" + scheme + "-" + strconv.Itoa(v) + ".sql")
		if err != nil {
			return "", fmt.Errorf("oncesql: there is no schema for %q; use sqlite or mysql", scheme)
		}
		b.Write(text)
	}
	return b.String(), nil
}

// Migrate brings the schema to the version that this package needs, and does nothing if it is
// there. Several processes may do so at the same time. MySQL commits each statement by itself: if
// Migrate fails halfway there, the tables that it made have to be dropped before it is
// called again.
func Migrate(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	engine, err := cfg.connect(true)
	if err != nil {
		return err
	}
	defer engine.close()
	err = engine.alone(ctx, func(c *sql.Conn) error { return migrate(ctx, c, engine.scheme()) })
	if noConnection(err) {
		return err
	}
	if err != nil {
		return fmt.Errorf("oncesql: the schema could not be brought to version %d: %w", schemaVersion, err)
	}
	return nil
}

func migrate(ctx context.Context, c *sql.Conn, scheme string) error {
	version, err := installed(ctx, c)
	if err != nil {
		return err
	}
	if version > schemaVersion {
		return errNewer(version)
	}
	for v := version + 1; v <= schemaVersion; v++ {
		text, err := steps.ReadFile("schema/" + scheme + "-" + strconv.Itoa(v) + ".sql")
		if err != nil {
			return err
		}
		for _, statement := range statementsOf(string(text)) {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	return nil
}

// statementsOf splits a step, in which no semicolon is part of anything but the end of a line.
func statementsOf(text string) []string {
	var all []string
	for s := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(s) != "" {
			all = append(all, s)
		}
	}
	return all
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// installed returns the version of the schema that is there, or 0.
func installed(ctx context.Context, db queryer) (int, error) {
	var version sql.Null[int]
	err := db.QueryRowContext(ctx, "SELECT MAX(version) FROM once_schema").Scan(&version)
	switch {
	case noTable(err):
		return 0, nil
	case err == nil && !version.Valid:
		return 0, fmt.Errorf("its version is gone; if all else is there put it back: INSERT INTO once_schema VALUES (%d)",
			schemaVersion)
	}
	return version.V, err
}

// checkSchema returns an error with the way out unless the schema has the right version.
func checkSchema(ctx context.Context, e engine) error {
	version, err := installed(ctx, e.reader())
	switch {
	case err != nil:
		return fmt.Errorf("oncesql: the schema could not be read: %w", err)
	case version == 0:
		return errors.New("oncesql: the tables are not in this database; run once migrate --store DSN, " +
			"or call oncesql.Migrate")
	case version < schemaVersion:
		return fmt.Errorf("oncesql: the schema has version %d, and this program needs %d; "+
			"run once migrate --store DSN, or call oncesql.Migrate", version, schemaVersion)
	case version > schemaVersion:
		return errNewer(version)
	}
	return nil
}

func errNewer(version int) error {
	return fmt.Errorf("oncesql: the schema has version %d, and this program knows only %d; "+
		"use a newer release", version, schemaVersion)
}
