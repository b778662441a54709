package oncepg

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncehq/once"
)

// SQLSTATEs, see appendix A of PostgreSQL's manual.
const (
	readOnly              = "25006"
	transactionAborted    = "25P02"
	idleTimeout           = "25P03"
	undefinedPrepared     = "26000"
	divisionByZero        = "22012"
	uniqueViolation       = "23505"
	serializationFailure  = "40001"
	completionUnknown     = "40003"
	deadlockDetected      = "40P01"
	duplicatePrepared     = "42P05"
	undefinedTable        = "42P01"
	insufficientPrivilege = "42501"
	invalidAuthorization  = "28000"
	invalidPassword       = "28P01"
	noSuchDatabase        = "3D000"
	tooManyConnections    = "53300"
	diskFull              = "53100"
	lockNotAvailable      = "55P03"
)

// sqlState returns the SQLSTATE of a server's error, or an empty string for any other.
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// isRolledBack reports whether the error says for certain that the transaction came to nothing.
// An error by which the server ends the connection does not: it may come after the commit.
func isRolledBack(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code == completionUnknown || strings.HasPrefix(pg.Code, "08") {
		return false
	}
	severity := pg.SeverityUnlocalized
	if severity == "" {
		severity = pg.Severity
	}
	return severity == "ERROR"
}

// isYielding reports whether the server rolled a transaction back only because of another one,
// so that it may be tried again as it is.
func isYielding(err error) bool {
	switch sqlState(err) {
	case serializationFailure, deadlockDetected, lockNotAvailable:
		return isRolledBack(err)
	}
	return false
}

// isOvertaken reports whether somebody else has made the row of the operation.
func isOvertaken(err error, schema string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == uniqueViolation && pg.SchemaName == schema && pg.ConstraintName == "records_key"
}

// explain adds to a server's error what it means here, and the way out.
func explain(err error) error {
	if cut := noConnection(err); cut != nil {
		return cut
	}
	switch sqlState(err) {
	case diskFull:
		return errors.Join(once.ErrFull, fmt.Errorf("oncepg: the server's disk is full: %w", err))
	case undefinedTable:
		return fmt.Errorf("oncepg: the tables are gone; run once migrate --store DSN: %w", err)
	case readOnly:
		return fmt.Errorf("oncepg: the server takes no writes, it may be a standby; "+
			"use the primary, or name several hosts and target_session_attrs=read-write in the DSN: %w", err)
	case undefinedPrepared, duplicatePrepared:
		return fmt.Errorf("oncepg: prepared statements do not last, as behind a pooler; set Config.Pooler: %w", err)
	}
	return err
}
