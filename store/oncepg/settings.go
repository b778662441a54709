package oncepg

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// settings are what a server says of itself that matters to whether it keeps its word.
type settings struct {
	version        int    // such as 150018
	recovering     bool   // a standby
	readOnly       bool   // transactions are, unless they say otherwise
	fsync          bool   //
	fullPageWrites bool   // torn pages are mended after a loss of power
	syncCommit     string // for these sessions
	syncStandbys   string // synchronous_standby_names
	standbys       int    // that are connected now
	slots          int    // of physical replication: standbys that were or will be
	isolation      string // of transactions that do not say
	messages       string // the least that is said
	autovacuum     bool
	watched        bool // connections are, see [WatchCommits]
}

func inspect(ctx context.Context, pool *pgxpool.Pool) (settings, error) {
	var s settings
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return s, err
	}
	defer conn.Release()
	s.watched = watchOf(conn.Conn().PgConn()) != nil
	err = conn.QueryRow(ctx, `
SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
	current_setting('default_transaction_read_only')::boolean, current_setting('fsync')::boolean,
	current_setting('full_page_writes')::boolean, current_setting('synchronous_commit'),
	current_setting('synchronous_standby_names'),
	(SELECT count(*) FROM pg_stat_replication)::integer,
	(SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical')::integer,
	current_setting('default_transaction_isolation'), current_setting('client_min_messages'),
	current_setting('autovacuum')::boolean`).Scan(
		&s.version, &s.recovering, &s.readOnly, &s.fsync, &s.fullPageWrites, &s.syncCommit,
		&s.syncStandbys, &s.standbys, &s.slots, &s.isolation, &s.messages, &s.autovacuum)
	return s, err
}

const oldest = 120000 // the oldest version that the statements were written for

// refuse returns everything because of which the server cannot be used, joined.
func (s settings) refuse(cfg Config) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncepg: the server "+format, args...))
	}
	if s.version < oldest {
		bad("has version %d.%d; use 12 or newer", s.version/10000, s.version%10000)
	}
	if s.recovering {
		bad("is a standby and takes no writes; use the primary, or name several hosts and " +
			"target_session_attrs=read-write in the DSN")
	}
	if !s.fsync && !cfg.DangerouslyAllowNoFsync {
		bad("runs with fsync off and may lose everything with its machine; set fsync = on")
	}
	return errors.Join(errs...)
}

// durable reports whether these sessions' commits are on disk before they are acknowledged, also
// on the standbys that there have to be.
func (s settings) durable() bool { return s.syncCommit == "on" || s.syncCommit == "remote_apply" }

// transaction returns the statements that have to enclose each transaction, so that a role's or
// a database's settings do not weaken it. There are none if these are as they should be.
func (s settings) transaction() (before, after []string) {
	deaf := s.synchronous() && s.messages == "error" // to the warning that [commitWatch] waits for
	if s.durable() && s.isolation == "read committed" && !s.readOnly && !deaf {
		return nil, nil
	}
	before = []string{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"}
	if !s.durable() {
		before = append(before, "SET LOCAL synchronous_commit TO on")
	}
	if deaf {
		before = append(before, "SET LOCAL client_min_messages TO warning")
	}
	return before, []string{"COMMIT"}
}

// replicated reports whether there are standbys, as far as one can see from here.
func (s settings) replicated() bool { return s.standbys > 0 || s.slots > 0 || s.synchronous() }

func (s settings) synchronous() bool { return strings.TrimSpace(s.syncStandbys) != "" }
