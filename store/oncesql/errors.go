package oncesql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/oncehq/once"
)

// Numbers of MySQL's and MariaDB's errors.
const (
	mysqlRecordChanged      = 1020
	mysqlTooManyConnections = 1040
	mysqlDatabaseDenied     = 1044
	mysqlAccessDenied       = 1045
	mysqlNoSuchDatabase     = 1049
	mysqlDuplicate          = 1062
	mysqlTableFull          = 1114
	mysqlLockWaitTimeout    = 1205
	mysqlDeadlock           = 1213
	mysqlReadOnly           = 1290
	mysqlDiskFull           = 1021
	mysqlNoSuchTable        = 1146
	mysqlPacketTooLarge     = 1153
)

// errBadConn makes database/sql forget a connection.
var errBadConn = driver.ErrBadConn

// mysqlNumber returns the number of a server's error, or zero for any other.
func mysqlNumber(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// sqliteCode returns the primary result code of an error of SQLite's, or zero for any other.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// A halfwayError is that of several statements in a transaction, of which the first may have been
// carried out: none of them may be committed.
type halfwayError struct{ err error }

func (e *halfwayError) Error() string { return e.err.Error() }
func (e *halfwayError) Unwrap() error { return e.err }

// endsTransaction reports whether the engine undoes not only the statement after this error
// (https://sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
func endsTransaction(err error) bool {
	if _, halfway := errors.AsType[*halfwayError](err); halfway || isYielding(err) {
		return true
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// explain adds to an engine's error what it means here, and the way out.
func explain(err error) error {
	if err == nil {
		return nil
	}
	switch mysqlNumber(err) {
	case mysqlTableFull, mysqlDiskFull:
		return errors.Join(once.ErrFull, fmt.Errorf("oncesql: the server has no room: %w", err))
	case mysqlNoSuchTable:
		return fmt.Errorf("oncesql: the tables are gone; run once migrate --store DSN: %w", err)
	case mysqlReadOnly:
		return fmt.Errorf("oncesql: the server takes no writes; use the primary: %w", err)
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_FULL:
		return errors.Join(once.ErrFull, fmt.Errorf("oncesql: the disk is full: %w", err))
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("oncesql: another process kept the database busy for too long; "+
			"keep its transactions short, or raise Config.Timeout: %w", err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("oncesql: the file may not be written; give this user the right to: %w", err)
	}
	return err
}

// noTable reports whether the error says that a table does not exist.
func noTable(err error) bool {
	return mysqlNumber(err) == mysqlNoSuchTable ||
		sqliteCode(err) == sqlite3.SQLITE_ERROR && strings.Contains(err.Error(), "no such table")
}

// isYielding reports whether a transaction was rolled back only because of another one, so that
// it may be tried again as a whole. MariaDB does so too when a row to be changed has changed since
// the transaction's first look at any (innodb_snapshot_isolation, on by default from 11.6 on).
func isYielding(err error) bool {
	number := mysqlNumber(err)
	return number == mysqlDeadlock || number == mysqlRecordChanged
}

// isLockTimeout reports whether a statement has waited long enough for another transaction's lock.
func isLockTimeout(err error) bool { return mysqlNumber(err) == mysqlLockWaitTimeout }

// isBusy reports whether another process is writing to a SQLite database.
func isBusy(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_BUSY }
