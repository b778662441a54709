package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oncehq/once"
)

// The oldest versions that have all that the statements use (SKIP LOCKED, and MariaDB RETURNING).
const (
	oldestMySQL   = 800
	oldestMariaDB = 1006
)

func (e *mysqlEngine) inspect(ctx context.Context) (settings, error) {
	version, err := e.variable(ctx, "version") // the first that is asked of the server
	if err != nil {
		return settings{}, e.connecting(err)
	}
	product, oldest := "MySQL", oldestMySQL
	if strings.Contains(version, "MariaDB") {
		product, oldest = "MariaDB", oldestMariaDB
	}
	number, _, _ := strings.Cut(version, "-")
	s := settings{mariadb: product == "MariaDB", Guarantees: once.Guarantees{
		Store: product + " " + number, Crash: once.Survives, Power: once.Survives,
		Failover: once.NotApplicable, Shared: true,
	}}
	if release(number) < oldest {
		s.refusef("is %s %s; use MySQL 8.0 or MariaDB 10.6, or newer", product, number)
	}
	vars := make(map[string]string)
	for _, name := range []string{
		"max_allowed_packet", "read_only", "innodb_flush_log_at_trx_commit", "innodb_doublewrite",
		"log_bin", "sync_binlog", "innodb_flush_method",
	} {
		if vars[name], err = e.variable(ctx, name); err != nil {
			return settings{}, err
		}
	}
	if s.packet, err = strconv.Atoi(vars["max_allowed_packet"]); err != nil {
		return settings{}, fmt.Errorf("max_allowed_packet is %q", vars["max_allowed_packet"])
	}
	s.packet = min(s.packet, driverPacket)
	level, charset, err := e.session(ctx)
	if err != nil {
		return settings{}, err
	}
	if level == "READ-UNCOMMITTED" {
		s.refusef("shows what is not committed (transaction isolation READ-UNCOMMITTED); " +
			"set it to READ-COMMITTED or REPEATABLE-READ")
	}
	if slices.Contains(unsafeCharsets, charset) {
		s.refusef("reads statements as %s, in which the byte that protects a quote may be part of a character, so that "+
			"keys could be statements; leave charset out of the DSN, or use utf8mb4", charset)
	}
	if on(vars["read_only"]) {
		s.refusef("takes no writes (read_only); use the primary")
	}
	if redo, err := e.shown(ctx, "STATUS", "Innodb_redo_log_enabled"); err != nil {
		return settings{}, err
	} else if redo == "OFF" {
		s.refusef("keeps no redo log, and does not survive a crash; use ALTER INSTANCE ENABLE INNODB REDO_LOG")
	}
	if v := vars["innodb_flush_log_at_trx_commit"]; v != "1" {
		s.lossf("has innodb_flush_log_at_trx_commit = %s and may forget the last second; set it to 1", v)
	}
	if v := vars["innodb_doublewrite"]; v == "OFF" || v == "0" || v == "DETECT_ONLY" {
		s.lossf("has innodb_doublewrite = %s and does not mend torn pages; set it to ON", v)
	}
	s.early = !on(vars["log_bin"]) && vars["innodb_flush_log_at_trx_commit"] == "1" // else nothing helps
	if on(vars["log_bin"]) && vars["sync_binlog"] != "1" {
		s.lossf("has sync_binlog = %s; the binary log may miss what the tables have; set it to 1", vars["sync_binlog"])
	}
	if v := vars["innodb_flush_method"]; !s.mariadb && strings.HasPrefix(v, "O_DIRECT") {
		// It writes the doublewrite files, but never syncs them; MariaDB does.
		s.notef("With innodb_flush_method = %s MySQL can mend torn pages only on disks that do not lose their cache "+
			"with the power; set it to fsync for others.", v)
	}
	return s, e.replication(ctx, &s)
}

// replication finds out what a failover would do. Whether a replica has a claim before that is
// acknowledged cannot be relied on with any of the server's own means: semi-synchronous
// replication goes on without after a while.
func (e *mysqlEngine) replication(ctx context.Context, s *settings) error {
	wsrep, err := e.variable(ctx, "wsrep_on")
	if err != nil {
		return err
	}
	replicas, err := e.replicas(ctx)
	if err != nil {
		return err
	}
	switch {
	case on(wsrep):
		s.Failover = once.Lost
		s.notef("Galera was not tested: use one node for all writes, and wsrep_sync_wait = 1.")
	case replicas > 0:
		s.Failover = once.Lost
		s.notef("Replication may lag: a failover may forget the last claims.")
	default:
		s.notef("No replica was seen, which takes the privilege PROCESS; with one a failover may forget the last claims.")
	}
	return nil
}

// replicas returns how many replicas are connected, of those that the user may see. MySQL's
// information_schema.PROCESSLIST fails when any statement that is going on has bytes which are no text.
func (e *mysqlEngine) replicas(ctx context.Context) (n int, err error) {
	rows, err := e.db.QueryContext(ctx, "SHOW PROCESSLIST")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	values, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	command := slices.Index(columns, "Command")
	if command < 0 {
		return 0, fmt.Errorf("the list of processes has the columns %q", columns)
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return 0, err
		}
		if strings.HasPrefix(string(values[command]), "Binlog Dump") {
			n++
		}
	}
	return n, rows.Err()
}

// unsafeCharsets have characters of which the second byte is a backslash. The driver puts arguments
// into the text of statements, and refuses only collations of these.
var unsafeCharsets = []string{"big5", "cp932", "gb18030", "gb2312", "gbk", "sjis"}

// session returns the isolation and the character set that the store's sessions begin with.
func (e *mysqlEngine) session(ctx context.Context) (isolation, charset string, err error) {
	const query = "SHOW SESSION VARIABLES WHERE variable_name IN ('transaction_isolation', 'tx_isolation')"
	var name string
	if err = e.db.QueryRowContext(ctx, query).Scan(&name, &isolation); err == nil {
		err = e.db.QueryRowContext(ctx, "SELECT @@SESSION.character_set_client").Scan(&charset)
	}
	return isolation, charset, err
}

// variable returns a global variable, or an empty string if the server has none of that name.
func (e *mysqlEngine) variable(ctx context.Context, name string) (string, error) {
	return e.shown(ctx, "VARIABLES", name)
}

// shown returns a global variable or a part of the server's status, or an empty string.
func (e *mysqlEngine) shown(ctx context.Context, kind, name string) (string, error) {
	var got, value string
	err := e.db.QueryRowContext(ctx, "SHOW GLOBAL "+kind+" LIKE '"+name+"'").Scan(&got, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func on(value string) bool { return value != "" && value != "OFF" && value != "0" }

// release returns a version as a number: 10.11.3 as 1011.
func release(version string) int {
	var major, minor int
	fmt.Sscanf(version, "%d.%d", &major, &minor)
	return major*100 + minor
}
