package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/oncehq/once"
)

// A Database is a kind of database, for an [Inserter].
type Database uint8

const (
	PostgreSQL Database = 1 + iota
	MySQL
	MariaDB
	SQLite
)

// An InsertConfig describes rows that are known by the request that made them.
//
// All names are put into statements as they are; they must not come from a request.
type InsertConfig struct {
	// Database says which language to speak. Required.
	Database Database

	// Table is the table's name, as it is written in SQL. Required.
	Table string

	// Key are the columns by which a request is known again, such as transaction_id, or tenant
	// and transaction_id. They must have a unique constraint or index of their own, and must not
	// be NULL. Required.
	Key []string

	// Columns are those that get a value, the Key among them. Required.
	Columns []string

	// Same are those of Columns whose values must be the ones that are there for a request to be
	// the same. The database compares them, in its own types and collations. Where that is not
	// exact, as with a column of seconds that is given fractions, name those that are, or a column
	// with a digest of the request ([once.FingerprintOf]). Defaults to all of Columns.
	Same []string

	// Returning are the columns to return, of the row that was made or is there. Required.
	Returning []string
}

// An Inserter inserts rows into a table of the program's own, each once: if the key is there
// already it answers with the row that is there, provided that it was made by the same request.
// It may be used by many goroutines at once.
//
// It is for programs whose effect is one row. There is no record beside that, no lease and
// nothing in doubt; the row itself is the outcome, for as long as it is kept.
//
// PostgreSQL does that in one round trip, and MariaDB if the row is new. MariaDB needs two for a row
// that is there, MySQL always. In PostgreSQL a key that is there does not abort the
// transaction in which Run is called.
type Inserter struct {
	cfg    InsertConfig
	insert string // and with PostgreSQL look as well
	look   string
	order  []int // of the values, as the arguments of look
}

// NewInserter returns an Inserter, or all that is wrong with its description.
func NewInserter(cfg InsertConfig) (*Inserter, error) {
	if len(cfg.Same) == 0 {
		cfg.Same = cfg.Columns
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	i := &Inserter{cfg: cfg}
	i.write()
	return i, nil
}

func (cfg InsertConfig) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncesql: insert: "+format, args...))
	}
	if cfg.Database < PostgreSQL || cfg.Database > SQLite {
		bad("Database is missing; use PostgreSQL, MySQL, MariaDB or SQLite")
	}
	if cfg.Table == "" {
		bad("Table is missing")
	}
	for _, list := range []struct {
		name  string
		items []string
	}{{"Key", cfg.Key}, {"Columns", cfg.Columns}, {"Returning", cfg.Returning}} {
		if len(list.items) == 0 {
			bad("%s is empty; name at least one column", list.name)
		}
	}
	for _, list := range [][]string{cfg.Key, cfg.Same} {
		for _, column := range list {
			if !slices.Contains(cfg.Columns, column) {
				bad("%s is not among Columns; add it there", column)
			}
		}
	}
	return errors.Join(errs...)
}

// A Queryer runs statements: [*sql.DB], [*sql.Conn], [*sql.Tx] and [*Transaction] do.
type Queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// insertRuns bounds how often Run looks for a row that comes and goes.
const insertRuns = 10

// Run inserts a row of the values, in the order of Columns, and scans the columns that are
// returned into the places. It reports whether the row is new.
//
// It returns [once.ErrMismatch] if the key is there with other values: then it is another request's.
// If another constraint stands in the way, such as a unique email address, the error is the driver's,
// and [Duplicate] names that constraint. After any error the places hold nothing that may be shown.
// After an error that leaves open what has happened, Run may be called again with the same values.
//
// In a transaction that has looked at any row before, newer versions of MariaDB end the whole
// transaction with error 1020 if the key has been there only since (innodb_snapshot_isolation);
// run it again.
func (i *Inserter) Run(ctx context.Context, db Queryer, values []any, into ...any) (inserted bool, err error) {
	if len(values) != len(i.cfg.Columns) || len(into) != len(i.cfg.Returning) {
		return false, fmt.Errorf("oncesql: insert: got %d values and %d places; give %d and %d, as configured",
			len(values), len(into), len(i.cfg.Columns), len(i.cfg.Returning))
	}
	var refused error
	for range insertRuns {
		met, err := i.meet(ctx, db, values, into)
		_, dup := Duplicate(err)
		switch {
		case refused != nil && err != nil:
			return false, refused
		case dup:
			// Of two equal requests at the same time one may run into the other at a constraint
			// that is not the key's. Then the key is there by now.
			refused = err
		case err != nil:
			return false, err
		case met.found && !met.inserted && !met.same:
			return false, once.ErrMismatch
		case met.found:
			return met.inserted, nil
		}
	}
	return false, fmt.Errorf("oncesql: insert: the row comes and goes; %d runs got no hold of it", insertRuns)
}

// An encounter is with the row of a key: none, if it was made after the statement had begun to
// look, or is gone.
type encounter struct{ found, inserted, same bool }

// meet inserts the row, or else looks for the one that is there. The error is that of the
// constraint that stands in the way, if it is not the key's.
func (i *Inserter) meet(ctx context.Context, db Queryer, values, into []any) (met encounter, err error) {
	places := append([]any{&met.inserted, &met.same}, into...)
	var refused error
	if i.cfg.Database == MySQL {
		_, refused = db.ExecContext(ctx, i.insert, values...)
		met.inserted = refused == nil
	} else {
		refused = db.QueryRowContext(ctx, i.insert, values...).Scan(places...)
		met.found = refused == nil
	}
	_, dup := Duplicate(refused)
	switch none := errors.Is(refused, sql.ErrNoRows); {
	case met.found, none && i.look == "":
		return met, nil
	case i.look == "", refused != nil && !dup && !none:
		return encounter{}, refused
	}
	args := make([]any, len(i.order))
	for n, column := range i.order {
		args[n] = values[column]
	}
	made := met.inserted
	err = db.QueryRowContext(ctx, i.look, args...).Scan(places...)
	met.found, met.inserted = err == nil, made
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
		if dup {
			err = refused
		}
	}
	return met, err
}
