package oncepg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
)

// claimTries is how often a claim is begun anew when the server rolls it back for another
// transaction, or another claim was faster.
const claimTries = 20

// Claim implements [once.Store]. A claim that wins has opened a transaction and made the record
// there, in one round trip. One that finds a record there takes two, or three if it takes the
// place of that.
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
	conn, err := t.acquire(ctx)
	if err != nil {
		return once.Record{}, err
	}
	limited, cancel := t.store.bounded(ctx)
	defer cancel()
	tx, rec, err := t.store.begin(limited, conn.Conn(), c, t.store.cfg.Isolation)
	there := !readsAnew(t.store.cfg.Isolation)
	if err == nil && !rec.Won(c) {
		there = true
		rec, err = t.contest(ctx, tx, c)
	}
	if err != nil || !rec.Won(c) {
		t.discard(ctx, conn, tx)
		if err == nil && rec.State == once.Done {
			err = t.store.confirm(ctx, c.Key)
		}
		return rec, err
	}
	op := &operation{
		key: c.Key, owner: c.Owner, rec: rec, there: there, conn: conn,
		tx:     &transaction{inner: tx, state: new(txState)},
		ending: make(chan struct{}, 1),
	}
	if err := t.put(op); err != nil {
		t.rollBack(ctx, op)
		return once.Record{}, err
	}
	return rec, nil
}

func (t *Transactional) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := t.store.pool.Acquire(ctx)
	if err != nil {
		if stat := t.store.pool.Stat(); stat.AcquiredConns() == stat.MaxConns() {
			err = fmt.Errorf("oncepg: all %d connections are in use by operations; "+
				"raise pool_max_conns in the DSN: %w", stat.MaxConns(), err)
		}
	}
	return conn, err
}

// discard rolls back a transaction that is not needed. Nobody has to wait for that.
func (t *Transactional) discard(ctx context.Context, conn *pgxpool.Conn, tx pgx.Tx) {
	if tx == nil || conn.Conn().IsClosed() {
		conn.Release() // which closes it, if the transaction is still open
		return
	}
	go func() {
		t.store.undo(ctx, tx)
		conn.Release()
	}()
}

// bounded limits a round trip that may wait for another transaction's lock.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.cfg.LockWait+s.cfg.Timeout)
}

// undo rolls back what was begun, whatever becomes of ctx. A connection that does not answer is closed.
func (s *Store) undo(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	if tx != nil {
		tx.Rollback(ctx)
	}
}

// begin opens a transaction and claims in it. If there is a row already it returns the zero
// Record, and otherwise the claim has won.
func (s *Store) begin(ctx context.Context, conn *pgx.Conn, c once.Claim, level pgx.TxIsoLevel) (pgx.Tx, once.Record, error) {
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadWrite})
	s.timeouts.queue(&b)
	b.Queue(txLock, txLockOf(s.cfg.Schema, c.Key))
	if readsAnew(level) {
		b.Queue(s.sql.txDraw, []byte(c.Key.Scope), []byte(c.Key.ID))
	} else {
		b.Queue(s.sql.txInsert, []byte(c.Key.Scope), []byte(c.Key.ID),
			fingerprintBytes(c.Fingerprint), ownerUUID(c.Owner), interval(c.Lease))
	}
	results := conn.SendBatch(ctx, &b)
	var fence int64
	var created time.Time
	_, err := results.Exec()
	if err == nil {
		err = s.timeouts.read(results)
	}
	if err == nil {
		_, err = results.Exec()
	}
	if err == nil {
		err = results.QueryRow().Scan(&fence, &created, nil)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
	}
	if closing := results.Close(); err == nil {
		err = closing
	}
	if err != nil || fence == 0 {
		return results.Tx(), once.Record{}, err
	}
	return results.Tx(), once.Record{
		Key: c.Key, Fingerprint: c.Fingerprint, Owner: c.Owner, State: once.InFlight,
		Attempt: 1, Fence: uint64(fence), Created: created, Lease: c.Lease,
	}, nil
}

// contest is for a claim that has found a row. It takes the place of one that is over or in
// doubt, or returns the record.
func (t *Transactional) contest(ctx context.Context, tx pgx.Tx, c once.Claim) (once.Record, error) {
	ctx, cancel := t.store.bounded(ctx)
	defer cancel()
	c.Forget = 0 // as in txInsert
	turn := turn{sql: &t.store.sql.txClaiming, claim: c}
	call, won := turn.call(ctx, turn.sql.claim), false
	if err := call.scan(tx.QueryRow(ctx, call.sql, call.args...)); err != nil {
		return once.Record{}, err
	}
	for next := turn.next(ctx, call); next != nil; next = turn.next(ctx, call) {
		if next.sql == turn.sql.claim {
			return once.Record{}, errFaster
		}
		call, won = next, true
		if err := call.scan(tx.QueryRow(ctx, call.sql, call.args...)); err != nil {
			return once.Record{}, err
		}
	}
	switch {
	case turn.err != nil:
		return once.Record{}, turn.err
	case won:
		_, err := tx.Exec(ctx, restoreSQL)
		return turn.rec, err
	case turn.rec.Won(c):
		// The operation was committed without an outcome: whatever it is, it is not open.
		turn.rec.State = once.InDoubt
	}
	return turn.rec, nil
}
