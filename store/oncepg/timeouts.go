package oncepg

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// timeoutsSQL sets what limits an operation's transaction: how long its claim waits for another
// one's, and how long it may be idle later on. What lock_timeout was before is kept, for
// restoreSQL sets that back for the operation. The last parameter says whether all this is for the
// transaction or for the session.
const (
	timeoutsSQL = `SELECT set_config('once.lock_timeout', current_setting('lock_timeout'), $3::boolean),
	set_config('lock_timeout', $1::text, $3::boolean),
	set_config('idle_in_transaction_session_timeout', $2::text, $3::boolean),
	CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
		THEN set_config('synchronous_commit', 'on', $3::boolean) END,
	CASE WHEN current_setting('client_min_messages') = 'error'
		THEN set_config('client_min_messages', 'warning', $3::boolean) END`
	restoreSQL = `SELECT set_config('lock_timeout', current_setting('once.lock_timeout'), true)`
)

// timeouts are set once for each connection if these are the store's own, and lead to the
// server. Otherwise every transaction has to set them.
type timeouts struct {
	lockWait, idle time.Duration
	each           bool // transaction sets them
}

func (ts timeouts) args(local bool) []any {
	return []any{milliseconds(ts.lockWait), milliseconds(ts.idle), local}
}

// session sets them for a new connection.
func (ts timeouts) session(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, timeoutsSQL, ts.args(false)...)
	return err
}

// queue and read are for a batch that begins a transaction.
func (ts timeouts) queue(b *pgx.Batch) {
	if ts.each {
		b.Queue(timeoutsSQL, ts.args(true)...)
	}
}

func (ts timeouts) read(results pgx.BatchResults) error {
	if !ts.each {
		return nil
	}
	_, err := results.Exec()
	return err
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
