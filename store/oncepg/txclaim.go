package oncepg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
)

// claimTries is how often a claim is begun anew when the server rolls it back for another
// transaction, or another claim was faster.
const claimTries = 20

// settingsSQL are those of an operation's transaction. The lock timeout is the claim's alone: what
// it was before is kept, and set again for the operation.
const (
	settingsSQL = `SELECT set_config('once.lock_timeout', current_setting('lock_timeout'), true),
	set_config('lock_timeout', $1::text, true),
	set_config('idle_in_transaction_session_timeout', $2::text, true),
	CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
		THEN set_config('synchronous_commit', 'on', true) END`
	restoreSQL = `SELECT set_config('lock_timeout', current_setting('once.lock_timeout'), true)`
)

// Claim implements [once.Store]. A claim that wins has opened a transaction and made the record
// there, in one round trip; if it takes the place of one that is over, in two.
func (t *Transactional) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	if t.isClosed() {
		return once.Record{}, once.ErrClosed
	}
	if op := t.find(c.Key, c.Owner); op != nil && ctx.Err() == nil {
		if !op.rec.Fingerprint.Matches(c.Fingerprint) {
			return once.Record{}, once.ErrMismatch
		}
		return op.rec, nil
	}
	for try := 1; ; try++ {
		rec, err := t.claim(ctx, c)
		switch {
		case err == nil:
			return rec, nil
		case sqlState(err) == lockNotAvailable:
			return once.Record{}, once.ErrInFlight
		case errors.Is(err, errFaster) || isYielding(err):
			if try == claimTries {
				return once.Record{}, once.ErrInFlight
			}
		default:
			return once.Record{}, explain(err)
		}
	}
}

// errFaster says that another claim was committed since the transaction's snapshot.
var errFaster = errors.New("oncepg: another claim was faster")

// claim begins a transaction with the claim in it, and keeps it if the claim wins.
func (t *Transactional) claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := ctx.Err(); err != nil {
		return once.Record{}, err
	}
	conn, err := t.store.pool.Acquire(ctx)
	if stat := t.store.pool.Stat(); err != nil && stat.AcquiredConns() == stat.MaxConns() {
		return once.Record{}, fmt.Errorf("oncepg: all %d connections are in use by operations; "+
			"raise pool_max_conns in the DSN: %w", stat.MaxConns(), err)
	}
	if err != nil {
		return once.Record{}, err
	}
	tx, last, err := t.begin(ctx, conn.Conn(), c)
	if err != nil {
		conn.Release() // which closes it, if the transaction is still open
		return once.Record{}, err
	}
	if !last.won {
		err = tx.Rollback(ctx)
		conn.Release()
		if err == nil {
			err = last.err
		}
		return last.rec, err
	}
	op := &operation{
		key: c.Key, owner: c.Owner, rec: last.rec, conn: conn,
		tx:     &transaction{inner: tx, state: new(txState)},
		ending: make(chan struct{}, 1),
	}
	if err := t.put(op); err != nil {
		t.rollBack(ctx, op)
		return once.Record{}, err
	}
	return op.rec, nil
}

// A verdict is what a claim in a transaction came to.
type verdict struct {
	rec once.Record
	err error
	won bool
}

// begin opens a transaction and claims in it. The error is one after which the transaction is of
// no use; it is closed with its connection.
func (t *Transactional) begin(ctx context.Context, conn *pgx.Conn, c once.Claim) (pgx.Tx, verdict, error) {
	c.Forget = 0 // should the operation commit by itself, it is in doubt for ever
	turn := turn{sql: &t.store.sql.txClaiming, claim: c}
	call := turn.first(ctx)
	cfg := t.store.cfg
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{IsoLevel: cfg.Isolation, AccessMode: pgx.ReadWrite})
	b.Queue(settingsSQL, milliseconds(cfg.LockWait), milliseconds(cfg.Idle))
	b.Queue(call.sql, call.args...)
	b.Queue(restoreSQL)
	results := conn.SendBatch(ctx, &b)
	err := readClaim(results, call)
	if closing := results.Close(); err == nil {
		err = closing
	}
	tx := results.Tx()
	if err != nil {
		return nil, verdict{}, err
	}
	won := call.mine
	for next := turn.next(ctx, call); next != nil; next = turn.next(ctx, call) {
		if next.sql == turn.sql.claim {
			return nil, verdict{}, errFaster
		}
		call, won = next, true
		if err := call.scan(tx.QueryRow(ctx, call.sql, call.args...)); err != nil {
			return nil, verdict{}, err
		}
	}
	if !won && turn.err == nil && turn.rec.Won(c) {
		// The operation was committed without an outcome: whatever it is, it is not open.
		turn.rec.State = once.InDoubt
	}
	return tx, verdict{rec: turn.rec, err: turn.err, won: won && turn.err == nil}, nil
}

func readClaim(results pgx.BatchResults, call *call) error {
	for range 2 { // BEGIN and the settings
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	return call.scan(results.QueryRow())
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
