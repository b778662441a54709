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
		if !errors.Is(err, errFaster) && !isYielding(err) {
			return false, err
		}
	}
}

// probe claims the operation itself, in a transaction that it rolls back. It can do so only when
// no other transaction has it. An existing row it locks, to the same effect.
func (s *Store) probe(ctx context.Context, k once.Key, o once.Owner, out *once.Outcome) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, s.cfg.LockWait+s.cfg.Timeout)
	defer cancel()
	conn, err := s.pool.Acquire(limited)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	c := once.Claim{Key: k, Owner: once.NewOwner()}
	tx, rec, err := s.insert(limited, conn.Conn(), c, pgx.ReadCommitted)
	if tx != nil {
		defer s.undo(ctx, tx)
	}
	if err != nil || rec.Won(c) {
		return false, err // there was no row, and nobody was making one
	}
	look := (&turn{claim: c}).call(limited, s.sql.txLook)
	if err := look.scan(tx.QueryRow(limited, look.sql, look.args...)); err != nil {
		return false, err
	}
	if !look.found {
		return false, errFaster // it was swept meanwhile
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
