package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/oncehq/once"
)

var mysqlDialect = dialect{
	// In UTC, which unlike a session's time zone has no hour twice. As a count since 1970 it does
	// not depend on the types of columns.
	now: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
	// The statement's time is that at which it came, and it may read a row that was written
	// since. SYSDATE is not fixed, but in the session's time zone; see openMySQL.
	clock:    "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', SYSDATE(6))",
	greatest: "GREATEST",
	// The documented way to get a value back from a statement that changes rows
	// (https://dev.mysql.com/doc/refman/8.0/en/information-functions.html#function_last-insert-id).
	// It is evaluated for a row that the WHERE clause has chosen, and for no other; the number of affected
	// rows is no proof, as it depends on the connection's flags whether a row
	// that stays as it is counts.
	setFence: func(value string) string { return "LAST_INSERT_ID(" + value + ")" },

	forUpdate: " FOR UPDATE",
	together:  true,
}

// mariadbDialect is what MariaDB can do beyond MySQL: a claim sees what stands in its way.
// A row that is there keeps its values, for which the server writes nothing.
func mariadbDialect() dialect {
	d := mysqlDialect
	d.together = false
	d.orSee = "ON DUPLICATE KEY UPDATE state = state RETURNING {seen}"
	return d
}

// driverPacket is the size of the largest packet that the driver sends.
const driverPacket = 64 << 20

// mysqlTries is how often a statement is tried that the server rolls back for another one.
const mysqlTries = 10

// mysqlEngine is a server of MySQL's or MariaDB's. Each statement is a transaction of its own.
type mysqlEngine struct {
	config    *mysql.Config
	db        *sql.DB
	operating *sql.DB // nil: not for transactional use
	maxPacket int     // set by adopt, as is
	mariadb   bool
}

func openMySQL(cfg Config) (engine, error) {
	mc, err := mysqlConfig(cfg.DSN)
	if err != nil {
		return nil, err
	}
	own := withParam(mc, "time_zone", "'+00:00'")
	own.MultiStatements = true // see claimTogether; not for what operations send
	db, err := mysqlPool(own, cfg.MaxConns)
	if err != nil {
		return nil, err
	}
	return &mysqlEngine{config: mc, db: db}, nil
}

// withParam returns a copy in which connections set a variable of the session.
func withParam(mc *mysql.Config, name, value string) *mysql.Config {
	mc = mc.Clone()
	mc.Params = maps.Clone(mc.Params)
	if mc.Params == nil {
		mc.Params = make(map[string]string)
	}
	mc.Params[name] = value
	return mc
}

func mysqlPool(mc *mysql.Config, conns int) (*sql.DB, error) {
	connector, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, fmt.Errorf("oncesql: config: DSN: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	// Servers and proxies drop connections that are idle for long.
	db.SetConnMaxIdleTime(3 * time.Minute)
	return db, nil
}

func (e *mysqlEngine) scheme() string { return "mysql" }
func (e *mysqlEngine) adopt(found settings) {
	e.maxPacket, e.mariadb = found.packet, found.mariadb
}
func (e *mysqlEngine) dialect() dialect {
	if e.mariadb {
		return mariadbDialect()
	}
	return mysqlDialect
}
func (e *mysqlEngine) reader() *sql.DB  { return e.db }
func (e *mysqlEngine) looksFirst() bool { return false }
func (e *mysqlEngine) moment() int64    { return 0 }

func (e *mysqlEngine) close() error {
	err := e.db.Close()
	if e.operating != nil {
		err = errors.Join(err, e.operating.Close())
	}
	return err
}

// openOperations makes the connections for the transactions of operations. They never commit by
// themselves: after a deadlock the server has rolled the transaction back, and would otherwise
// commit each of the statements that may follow.
func (e *mysqlEngine) openOperations(cfg Config) error {
	seconds := (cfg.LockWait + time.Second - 1) / time.Second
	mc := withParam(e.config, "autocommit", "0")
	mc = withParam(mc, "innodb_lock_wait_timeout", strconv.Itoa(int(seconds)))
	var err error
	e.operating, err = mysqlPool(mc, cfg.MaxConns)
	return err
}

func (e *mysqlEngine) operations() *sql.DB { return e.operating }

// end uses statements, as those of the driver's own are not bounded by a context.
func (e *mysqlEngine) end(ctx context.Context, tx *sql.Tx, commit bool) error {
	verb := "ROLLBACK"
	if commit {
		verb = "COMMIT"
	}
	_, err := tx.ExecContext(ctx, verb)
	return err
}

func (e *mysqlEngine) changeIn(ctx context.Context, tx *sql.Tx, statement string, args ...any) (int64, error) {
	res, err := tx.ExecContext(ctx, statement, args...)
	switch {
	case err == nil:
		return res.LastInsertId()
	case mysqlNumber(err) == mysqlDuplicate:
		return 0, nil
	}
	return 0, err
}

// maxOutcome leaves room for the escapes of an outcome that is all quotes.
func (e *mysqlEngine) maxOutcome() int { return (e.maxPacket - 8<<10) / 2 }

func (e *mysqlEngine) change(ctx context.Context, statement string, args ...any) (fence int64, err error) {
	err = untilItStands(ctx, func() error {
		res, err := e.db.ExecContext(ctx, statement, args...)
		switch {
		case mysqlNumber(err) == mysqlDuplicate:
			return nil // of insert: somebody was faster
		case err == nil:
			fence, err = res.LastInsertId()
		}
		return err
	})
	return fence, err
}

func (e *mysqlEngine) see(ctx context.Context, statement string, args []any, into ...any) error {
	return untilItStands(ctx, func() error {
		return e.db.QueryRowContext(ctx, statement, args...).Scan(into...)
	})
}

// seeAll carries out a statement that returns scope, id and the columns of [row].
func (e *mysqlEngine) seeAll(ctx context.Context, statement string, args []any) (seen map[once.Key]*row, err error) {
	err = untilItStands(ctx, func() error {
		rows, err := e.db.QueryContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		seen, err = keyed(rows)
		return err
	})
	return seen, err
}

// keyed reads rows of scope, id and the columns of [row].
func keyed(rows *sql.Rows) (map[once.Key]*row, error) {
	seen := make(map[once.Key]*row)
	for rows.Next() {
		var scope, id []byte
		r := new(row)
		if err := rows.Scan(append([]any{&scope, &id}, r.columns()...)...); err != nil {
			return nil, err
		}
		seen[once.Key{Scope: string(scope), ID: string(id)}] = r
	}
	return seen, rows.Err()
}

// untilItStands repeats a statement that the server undoes in favour of another one.
func untilItStands(ctx context.Context, statement func() error) error {
	for try := 1; ; try++ {
		err := statement()
		if !isYielding(err) && !isLockTimeout(err) || try == mysqlTries || ctx.Err() != nil {
			return err
		}
	}
}

// sweep passes over rows that a verb has locked.
func (e *mysqlEngine) sweep(ctx context.Context, st *statements, limit int) (int, error) {
	// In the default isolation gaps between rows would be locked too.
	tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, st.due+" FOR UPDATE SKIP LOCKED", limit)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var keys []any
	for rows.Next() {
		var scope, id []byte
		if err := rows.Scan(&scope, &id); err != nil {
			return 0, err
		}
		keys = append(keys, scope, id)
	}
	if err := rows.Err(); err != nil || len(keys) == 0 {
		return 0, err
	}
	n := len(keys) / 2
	where := strings.Repeat(" OR scope = ? AND id = ?", n)[len(" OR "):]
	if _, err := tx.ExecContext(ctx, "DELETE FROM once_records WHERE "+where, keys...); err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

// alone excludes others by a lock that the server keeps for the connection.
func (e *mysqlEngine) alone(ctx context.Context, f func(*sql.Conn) error) error {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return e.connecting(err)
	}
	defer conn.Close()
	var got int
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK('once_migrate', 60)").Scan(&got); err != nil {
		return err
	}
	if got != 1 {
		return errors.New("another migration is going on")
	}
	defer conn.ExecContext(ctx, "DO RELEASE_LOCK('once_migrate')")
	return f(conn)
}
