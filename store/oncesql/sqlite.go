package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/oncehq/once"
)

// sqliteReaders bounds the connections for reading.
const sqliteReaders = 4

// sqliteNow is the clock of the machine that all users of a file share, in the engine's own terms;
// it counts in milliseconds.
const sqliteNow = "CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000"

var sqliteDialect = dialect{
	now:      sqliteNow,
	clock:    sqliteNow, // is read when the transaction has begun
	greatest: "max",
	orElse:   "ON CONFLICT (scope, id) DO NOTHING",
	setFence: func(value string) string { return value },
	fence:    "RETURNING fence",
}

// sqliteEngine is a file. In WAL mode reading and writing do not wait for each other, and a reader
// sees what was committed before it began. SQLite lets one write at a time; the writer makes
// use of that and commits for many at once.
type sqliteEngine struct {
	path, mode string
	reading    *sql.DB
	writer     *writer
	operating  *sql.DB // nil: not for transactional use
}

func openSQLite(cfg Config, create bool) (engine, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(cfg.DSN, "sqlite:"), "//")
	switch {
	case path == "":
		return nil, errors.New("oncesql: config: DSN has no path; use sqlite:PATH")
	case strings.HasPrefix(path, ":memory:") || strings.Contains(path, "mode=memory"):
		return nil, errors.New("oncesql: config: a database in memory is gone with its connection; " +
			"use sqlite:PATH, or package oncemem")
	}
	mode := "rw"
	if create {
		mode = "rwc"
	}
	e := &sqliteEngine{path: path, mode: mode}
	var err error
	if e.reading, err = sql.Open("sqlite", sqliteDSN(cfg, path, mode, "query_only(1)")); err != nil {
		return nil, fmt.Errorf("oncesql: no reader: %w", err)
	}
	e.reading.SetMaxOpenConns(sqliteReaders)
	e.reading.SetMaxIdleConns(sqliteReaders)
	writing, err := sql.Open("sqlite", sqliteDSN(cfg, path, mode))
	if err != nil {
		return nil, fmt.Errorf("oncesql: no writer: %w", err)
	}
	writing.SetMaxOpenConns(1)
	e.writer = &writer{db: writing}
	return e, nil
}

// sqliteDSN returns the driver's name for the file. The settings that durability rests on are set
// on each connection; FULL is what makes SQLite wait for the disk at each commit in WAL
// mode (https://sqlite.org/pragma.html#pragma_synchronous).
func sqliteDSN(cfg Config, path, mode string, more ...string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}}
	for _, pragma := range append([]string{
		fmt.Sprintf("busy_timeout(%d)", cfg.Timeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)",
	}, more...) {
		q.Add("_pragma", pragma)
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func (e *sqliteEngine) dialect() dialect { return sqliteDialect }
func (e *sqliteEngine) reader() *sql.DB  { return e.reading }
func (e *sqliteEngine) adopt(settings)   {}
func (e *sqliteEngine) looksFirst() bool { return true }

// openOperations makes the connection for the transactions of operations. A transaction has the right
// to write from its start, as others would fail if they first read and then write.
func (e *sqliteEngine) openOperations(cfg Config) error {
	cfg.Timeout = cfg.LockWait
	db, err := sql.Open("sqlite", sqliteDSN(cfg, e.path, e.mode))
	if err != nil {
		return fmt.Errorf("oncesql: no connection for operations: %w", err)
	}
	db.SetMaxOpenConns(1)
	e.operating = db
	return nil
}

func (e *sqliteEngine) operations() *sql.DB { return e.operating }
func (e *sqliteEngine) moment() int64       { return time.Now().UnixMicro() }

func (e *sqliteEngine) end(_ context.Context, tx *sql.Tx, commit bool) error {
	if commit {
		return tx.Commit()
	}
	return tx.Rollback()
}

func (e *sqliteEngine) changeIn(ctx context.Context, tx *sql.Tx, statement string, args ...any) (int64, error) {
	var fence int64
	err := tx.QueryRowContext(ctx, statement, args...).Scan(&fence)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return fence, err
}

// maxOutcome is less than the engine's own limit, a billion bytes for a row.
func (e *sqliteEngine) maxOutcome() int { return 256 << 20 }

func (e *sqliteEngine) change(ctx context.Context, statement string, args ...any) (int64, error) {
	return e.writer.do(ctx, func(c *connection) (int64, error) {
		var fence int64
		_, err := c.scan(statement, args, &fence)
		return fence, err
	})
}

func (e *sqliteEngine) see(ctx context.Context, statement string, args []any, into ...any) error {
	return e.reading.QueryRowContext(ctx, statement, args...).Scan(into...)
}

func (e *sqliteEngine) scheme() string { return "sqlite" }

func (e *sqliteEngine) sweep(ctx context.Context, st *statements, limit int) (int, error) {
	n, err := e.writer.do(ctx, func(c *connection) (int64, error) {
		return c.exec("DELETE FROM once_records WHERE (scope, id) IN ("+st.due+")", limit)
	})
	if isBusy(err) {
		return 0, nil // an operation's transaction is open; the next sweep may have more luck
	}
	return int(n), err
}

func (e *sqliteEngine) close() error {
	errs := []error{e.writer.close(), e.reading.Close()}
	if e.operating != nil {
		errs = append(errs, e.operating.Close())
	}
	return errors.Join(errs...)
}

func (e *sqliteEngine) alone(ctx context.Context, f func(*sql.Conn) error) error {
	_, err := e.writer.do(ctx, func(c *connection) (int64, error) {
		if err := f(c.Conn); err != nil {
			return 0, &halfwayError{err}
		}
		return 0, nil
	})
	return err
}

func (e *sqliteEngine) inspect(ctx context.Context) (settings, error) {
	var journal, version string
	var synchronous int
	for query, into := range map[string]any{
		"PRAGMA journal_mode": &journal, "PRAGMA synchronous": &synchronous, "SELECT sqlite_version()": &version,
	} {
		if err := e.reading.QueryRowContext(ctx, query).Scan(into); err != nil {
			return settings{}, err
		}
	}
	s := settings{Guarantees: once.Guarantees{
		Store: "SQLite " + version, Crash: once.Survives, Power: once.Survives, Failover: once.NotApplicable,
	}}
	if journal != "wal" {
		// Some file systems cannot do it: WAL needs shared memory.
		s.refusef("is in journal mode %s and not in WAL; keep the file on a local disk", journal)
	}
	if synchronous < 2 {
		s.lossf("has synchronous = %d; it must be 2 (FULL)", synchronous)
	}
	s.notef("Only processes on one machine may use the file, which must be on a local disk.")
	return s, nil
}
