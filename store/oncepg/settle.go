package oncepg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
)

// settle finds out what came of the operation's COMMIT, whose reply was lost. The record that was
// written in the same transaction knows, once that has ended: settle returns nil if the record has
// the outcome, and ErrRolledBack if the transaction came to nothing. Any other error leaves it
// unknown, so that Complete may be called again.
func (t *Transactional) settle(ctx context.Context, op *operation, out *once.Outcome) error {
	committed, err := t.store.committed(ctx, op.key, op.owner, out)
	if err == nil && committed {
		err = t.store.confirm(ctx, op.key)
	}
	switch {
	case errors.Is(err, once.ErrLost):
	case err != nil:
		return fmt.Errorf("oncepg: it is unknown whether the transaction was committed: %w", err)
	case !committed:
		err = once.ErrRolledBack
	}
	t.remove(op)
	return err
}

// committed reports whether a transaction was committed that has completed the operation as this
// owner, with the outcome if that is given. It waits until the transaction has ended: its server
// process may be busy yet with a COMMIT whose sender has gone.
func (s *Store) committed(ctx context.Context, k once.Key, o once.Owner, out *once.Outcome) (bool, error) {
	for {
		committed, err := s.probe(ctx, k, o, out)
		if err == nil || ctx.Err() != nil {
			return committed, err
		}
		if !isYielding(err) {
			return false, err
		}
	}
}

// probe takes the operation's lock, and that of its row, in a transaction that it rolls back: it
// gets both only when no other transaction has them.
func (s *Store) probe(ctx context.Context, k once.Key, o once.Owner, out *once.Outcome) (bool, error) {
	limited, cancel := s.bounded(ctx)
	defer cancel()
	conn, err := s.pool.Acquire(limited)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	s.timeouts.queue(&b)
	b.Queue(txLock, txLockOf(s.cfg.Schema, k))
	look := &call{sql: s.sql.txLook, row: new(row)}
	b.Queue(look.sql, []byte(k.Scope), []byte(k.ID))
	results := conn.SendBatch(limited, &b)
	defer s.undo(ctx, results.Tx())
	_, err = results.Exec()
	if err == nil {
		err = s.timeouts.read(results)
	}
	if err == nil {
		_, err = results.Exec()
	}
	if err == nil {
		err = look.scan(results.QueryRow())
	}
	if closing := results.Close(); err == nil {
		err = closing
	}
	if err != nil || !look.found {
		return false, err // there was no row, and nobody was making one
	}
	r := look.row
	switch {
	case r.owner.Bytes == once.Owner{}:
		return false, once.ErrLost // an operator has made the store forget it
	case r.owner.Bytes != o || r.state == claimed:
		return false, nil
	case r.state == done && out != nil:
		stands := once.Outcome{Failed: r.failed, Type: string(r.mediaType), Data: r.outcome}
		if !stands.Equal(*out) {
			return false, once.ErrLost
		}
	}
	return true, nil
}
