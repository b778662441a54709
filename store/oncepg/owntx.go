package oncepg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
)

// CompleteTx records the outcome of the attempt in a transaction of the caller's own, in the
// database of the store: so it is committed together with what else the caller does there. It
// returns [once.ErrLost], and the transaction must be rolled back, if the attempt has lost the
// operation.
//
// The attempt has to be told what became of the transaction. [Store.Commit] does all of it; this is
// for callers who do not commit themselves, and call [once.Attempt.CompleteBy] around what does.
func (s *Store) CompleteTx(
	ctx context.Context, tx pgx.Tx, a *once.Attempt, out once.Outcome, retention time.Duration,
) error {
	return s.completeTx(ctx, tx, a.Key(), a.Owner(), out, retention)
}

func (s *Store) completeTx(
	ctx context.Context, tx pgx.Tx, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if len(out.Data) > MaxOutcome {
		return fmt.Errorf("oncepg: outcome has %d bytes, at most %d are kept: %w",
			len(out.Data), MaxOutcome, once.ErrTooLarge)
	}
	args := []any{[]byte(k.Scope), []byte(k.ID), ownerUUID(o)}
	sql := s.sql.ownFree
	if retention > 0 {
		sql, args = s.sql.ownComplete, append(args, completion(out, retention)...)
	}
	err := tx.QueryRow(ctx, sql, args...).Scan(nil, nil)
	if errors.Is(err, pgx.ErrNoRows) {
		return once.ErrLost
	}
	return err
}

// Commit records the outcome of the attempt in the caller's transaction, commits that, and ends
// the attempt. Unlike with [Transactional] the operation was claimed beforehand, with a lease: it
// can do much before it opens a transaction, at the price that it is in doubt if it never gets
// this far.
//
//	tx, err := pool.Begin(ctx)
//	…                                       // effects
//	err = store.Commit(ctx, tx, attempt, outcome)
//
// The outcome may be shown to others only if Commit returns nil. After [once.ErrRolledBack] nothing has
// happened, and the claim is released. If the reply to the COMMIT is lost, what is in the
// database decides. With a synchronous standby Commit takes one more round trip.
func (s *Store) Commit(ctx context.Context, tx pgx.Tx, a *once.Attempt, out once.Outcome, retention time.Duration) error {
	return a.CompleteBy(out, func(ctx context.Context) error {
		return s.commit(ctx, tx, a.Key(), a.Owner(), out, retention)
	})
}

func (s *Store) commit(
	ctx context.Context, tx pgx.Tx, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	err := s.completeTx(ctx, tx, k, o, out, retention)
	if err == nil {
		err = tx.Commit(ctx)
		if err == nil {
			return s.confirm(ctx, k) // nobody watches the caller's connection
		}
	}
	tx.Rollback(ctx)
	if errors.Is(err, once.ErrLost) || errors.Is(err, once.ErrTooLarge) {
		return err
	}
	committed, settling := s.committed(ctx, k, o, &out)
	switch {
	case errors.Is(settling, once.ErrLost):
		return errors.Join(settling, err)
	case settling != nil:
		return fmt.Errorf("oncepg: it is unknown whether the transaction was committed: %w", errors.Join(settling, err))
	case committed:
		return s.confirm(ctx, k)
	}
	if released := s.Release(ctx, k, o); released != nil {
		return errors.Join(released, err)
	}
	return fmt.Errorf("oncepg: the transaction was rolled back: %w", errors.Join(once.ErrRolledBack, err))
}
