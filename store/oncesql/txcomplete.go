package oncesql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/oncehq/once"
)

// Complete implements [once.Store]: it writes the outcome into the operation's transaction and
// commits that.
//
// [once.ErrRolledBack] means that the server gave preference to another transaction and nothing
// happened. If the reply to the COMMIT was lost, what is in the database decides.
func (t *Transactional) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if t.isClosed() {
		return once.ErrClosed
	}
	if err := t.store.fits(out); err != nil {
		return err
	}
	op, err := t.end(ctx, k, o)
	switch {
	case err != nil:
		return err
	case op == nil:
		return t.store.stands(ctx, k, o, out)
	}
	defer op.leave()
	if op.held == nil {
		return t.settle(ctx, op, &out)
	}
	// Once it is begun it goes on whatever becomes of ctx: to cut it off would undo all that the
	// operation did.
	lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.store.cfg.Timeout)
	defer cancel()
	err = errInUse
	if !op.held.inUse(lasting) {
		err = t.write(lasting, op, out, retention)
	}
	if err != nil {
		op.held.rollBack(ctx)
		t.remove(op)
		return err
	}
	err = op.held.end(lasting, true)
	op.held = nil
	if err == nil {
		t.remove(op)
		return nil
	}
	t.mu.Lock()
	op.unknown = time.Now()
	t.mu.Unlock()
	return t.settle(ctx, op, &out)
}

// errInUse says that an operation has returned while rows of its transaction were open, which MySQL's
// protocol does not go past. It was rolled back.
var errInUse = once.NoEffect(errors.New("oncesql: the operation has left its transaction in use, and it was rolled " +
	"back; close all rows"))

// inUse reports whether rows are open. The driver's next statement would fail as it does when the
// connection is lost.
func (h *held) inUse(ctx context.Context) bool {
	valid := true
	h.conn.Raw(func(c any) error {
		if v, ok := c.(driver.Validator); ok {
			valid = v.IsValid()
		}
		return nil
	})
	return !valid && errors.Is(h.conn.PingContext(ctx), mysql.ErrBusyBuffer)
}

// write puts the outcome into the operation's transaction. After an error nothing was committed.
func (t *Transactional) write(
	ctx context.Context, op *operation, out once.Outcome, retention time.Duration,
) error {
	statement, args := t.store.sql.txFree, []any{int64(op.rec.Fence)}
	if retention > 0 {
		statement = t.store.sql.txComplete
		args = append(args, out.Failed, []byte(out.Type), out.Data, micros(retention))
	}
	args = append(args, []byte(op.key.Scope), []byte(op.key.ID), op.owner[:])
	fence, err := t.store.engine.changeIn(ctx, op.held.tx, statement, args...)
	switch {
	case err == nil && fence != 0:
		return nil
	case err == nil, op.tx.yielded.Load():
		// The record is not there any more, and with it all that came before: the engine has rolled
		// the transaction back.
		return once.ErrRolledBack
	case isYielding(err):
		return &yieldedError{err}
	}
	if _, refused := errors.AsType[*mysql.MySQLError](err); refused || sqliteCode(err) != 0 {
		return once.NoEffect(fmt.Errorf("oncesql: the outcome could not be written, and nothing was committed: %w", explain(err)))
	}
	return fmt.Errorf("oncesql: the connection was lost before the outcome was sent: %w",
		errors.Join(once.ErrRolledBack, err))
}

// settle finds out what came of the operation's COMMIT, whose reply was lost. The record that was
// written in the same transaction knows, once that has ended: settle returns nil if the record has
// the outcome, and ErrRolledBack if the transaction came to nothing. Any other error leaves it
// unknown, so that Complete may be called again.
func (t *Transactional) settle(ctx context.Context, op *operation, out *once.Outcome) error {
	committed, err := t.committed(ctx, op, out)
	switch {
	case errors.Is(err, once.ErrLost):
	case err != nil:
		return fmt.Errorf("oncesql: it is unknown whether the transaction was committed: %w", err)
	case !committed:
		err = once.ErrRolledBack
	}
	t.remove(op)
	return err
}

// committed reports whether the operation's transaction was committed. It waits until that has
// ended: its server process may be busy yet with a COMMIT whose sender has gone.
func (t *Transactional) committed(ctx context.Context, op *operation, out *once.Outcome) (bool, error) {
	for {
		committed, again, err := t.probe(ctx, op, out)
		switch {
		case err == nil && !again:
			return committed, nil
		case ctx.Err() != nil:
			return false, errors.Join(ctx.Err(), err)
		case err != nil && !isLockTimeout(err) && !isYielding(err) && !errors.Is(err, errBusy):
			return false, err
		}
	}
}

// probe claims the operation itself, in a transaction that it rolls back. It can do so only when
// no other transaction has it. A row that exists it locks, to the same effect. It reports also
// whether it has to be called again.
func (t *Transactional) probe(ctx context.Context, op *operation, out *once.Outcome) (committed, again bool, err error) {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	h, err := t.begin(ctx)
	if err != nil {
		return false, false, err
	}
	defer h.rollBack(ctx)
	c := once.Claim{Key: op.key, Owner: once.NewOwner()}
	made, err := t.store.engine.changeIn(ctx, h.tx, t.store.sql.insert, insertArgs(c)...)
	if err != nil || made != 0 {
		return false, false, err // there was no row, and nobody was making one
	}
	var r row
	err = h.tx.QueryRowContext(ctx, t.store.sql.txLook, []byte(op.key.Scope), []byte(op.key.ID)).Scan(r.columns()...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, true, nil // it was swept meanwhile
	case err != nil:
		return false, false, err
	case !r.ownedBy(op.owner) || r.state == claimed:
		return false, false, nil
	case r.state == done && out != nil:
		stands := once.Outcome{Failed: r.failed, Type: string(r.mediaType), Data: r.outcome}
		if !stands.Equal(*out) {
			return false, false, once.ErrLost
		}
	}
	if t.store.confirmer != nil {
		err = t.store.confirm(ctx)
	}
	return true, false, err
}
