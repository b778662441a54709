package oncepg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncehq/once"
)

// Complete implements [once.Store]: it writes the outcome into the operation's transaction and
// commits that, in one round trip.
//
// [once.ErrRolledBack] means that the server gave preference to another transaction and nothing
// happened. So does an error for which [once.IsNoEffect] holds, where it is the operation's own
// doing that its transaction could not be committed. If the reply to the COMMIT was lost, what is
// in the database decides.
func (t *Transactional) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if t.isClosed() {
		return once.ErrClosed
	}
	if len(out.Data) > MaxOutcome {
		return fmt.Errorf("oncepg: outcome has %d bytes, at most %d are kept: %w",
			len(out.Data), MaxOutcome, once.ErrTooLarge)
	}
	op, err := t.end(ctx, k, o)
	switch {
	case err != nil:
		return err
	case op == nil:
		return t.store.stands(ctx, k, o, out)
	}
	defer op.leave()
	if op.conn == nil {
		return t.settle(ctx, op, &out)
	}
	err = t.commit(ctx, op, out, retention)
	if err == nil {
		t.letGo(op)
		return nil
	}
	return t.uncommitted(ctx, op, &out, err)
}

// commit sends the outcome and the COMMIT. A statement of the two that fails keeps the server
// from carrying out the rest. Once it is begun it goes on whatever becomes of ctx: to cut it off
// would undo all that the operation did.
func (t *Transactional) commit(
	ctx context.Context, op *operation, out once.Outcome, retention time.Duration,
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.cfg.Timeout)
	defer cancel()
	var b pgx.Batch
	t.queue(&b, op, out, retention)
	b.Queue("COMMIT")
	results := op.conn.Conn().SendBatch(ctx, &b)
	_, err := results.Exec()
	if err == nil {
		var tag pgconn.CommandTag
		if tag, err = results.Exec(); err == nil && tag.String() != "COMMIT" {
			err = pgx.ErrTxCommitRollback
		}
	}
	if closing := results.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = unconfirmed(op.conn.Conn())
	}
	return err
}

// queue writes the outcome of the operation.
func (t *Transactional) queue(b *pgx.Batch, op *operation, out once.Outcome, retention time.Duration) {
	sql := &t.store.sql
	args := []any{[]byte(op.key.Scope), []byte(op.key.ID), ownerUUID(op.owner), int64(op.rec.Fence)}
	switch {
	case op.there && retention > 0:
		b.Queue(sql.txComplete, append(args, completion(out, retention)...)...)
	case op.there:
		b.Queue(sql.txFree, args...)
	case retention > 0:
		args = append(args, fingerprintBytes(op.rec.Fingerprint), op.rec.Created)
		b.Queue(sql.txRecord, append(args, completion(out, retention)...)...)
	default:
		b.Queue(sql.txMark, append(args, op.rec.Created)...)
	}
}

// uncommitted says what it means that the commit failed.
func (t *Transactional) uncommitted(ctx context.Context, op *operation, out *once.Outcome, err error) error {
	switch {
	case errors.Is(err, pgconn.ErrConnClosed) && pgconn.SafeToRetry(err):
		err = fmt.Errorf("oncepg: the connection was lost before the outcome was sent: %w", errors.Join(once.ErrRolledBack, err))
	case !isRolledBack(err) && !errors.Is(err, pgx.ErrTxCommitRollback) && !pgconn.SafeToRetry(err):
		op.conn.Conn().Close(ctx)
		op.conn.Release()
		op.conn = nil
		t.mu.Lock()
		op.unknown = time.Now()
		t.mu.Unlock()
		return t.settle(ctx, op, out)
	case op.tx.state.yielded.Load() || isYielding(err) || isOvertaken(err, t.store.cfg.Schema):
		err = &yieldedError{err}
	case sqlState(err) == transactionAborted:
		err = once.NoEffect(fmt.Errorf("oncepg: the transaction was rolled back because of an earlier "+
			"statement that failed; return its error from the operation, or use savepoints: %w", err))
	case sqlState(err) == divisionByZero:
		err = once.NoEffect(errors.New("oncepg: the operation has removed its own record; nothing was committed"))
	default:
		err = once.NoEffect(fmt.Errorf("oncepg: the transaction could not be committed: %w", err))
	}
	t.rollBack(ctx, op)
	return err
}
