package oncepg

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A server with a synchronous standby answers a commit also when its wait for that was ended, by
// pg_cancel_backend for example: with success, and a warning in the server's language with the code of
// all warnings. What it can be known by is the name of the routine that it comes from.
const standbyWait = "SyncRepWaitForLSN"

// errUnconfirmed says so. What was committed is to be seen, and a failover would forget it.
var errUnconfirmed = errors.New("oncepg: the server was made to stop waiting for its synchronous standby; " +
	"it is unknown if that has what was committed")

// watched is where a connection has its *commitWatch.
const watched = "github.com/oncehq/once/store/oncepg.watch"

// A commitWatch is a connection's, and used by whoever uses that.
type commitWatch struct{ gaveUp bool }

// WatchCommits lets a store with a [Config.Pool] notice that a commit was not confirmed by a
// synchronous standby because an operator has ended the wait for it, and not acknowledge it. It adds to
// what the configuration does already, and must be called before the pool is made. Pools of a
// store's own do the same.
func WatchCommits(cc *pgx.ConnConfig) {
	connected, noticed := cc.AfterConnect, cc.OnNotice
	cc.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		c.CustomData()[watched] = new(commitWatch)
		if connected != nil {
			return connected(ctx, c)
		}
		return nil
	}
	cc.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if w := watchOf(c); w != nil && n.Routine == standbyWait {
			w.gaveUp = true
		}
		if noticed != nil {
			noticed(c, n)
		}
	}
}

func watchOf(c *pgconn.PgConn) *commitWatch {
	w, _ := c.CustomData()[watched].(*commitWatch)
	return w
}

// unconfirmed returns an error if a commit on the connection has not waited for the standby since
// it was called last.
func unconfirmed(c *pgx.Conn) error {
	if w := watchOf(c.PgConn()); w != nil && w.gaveUp {
		w.gaveUp = false
		return errUnconfirmed
	}
	return nil
}
