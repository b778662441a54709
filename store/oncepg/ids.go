package oncepg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/oncehq/once"
)

// Defaults of [IDsConfig].
const (
	DefaultIDBuckets = 8
	DefaultIDLease   = time.Minute
)

// IDsConfig says for how long ids are remembered. Window and Buckets are those of the tables, which
// [MigrateIDs] makes.
type IDsConfig struct {
	// Window is how long an id that is done is remembered at least. Required.
	Window time.Duration

	// Buckets is into how many the window is cut. An id is forgotten together with its bucket, up
	// to Window/Buckets later; each has a table of its own, into all of which a question looks.
	// Defaults to [DefaultIDBuckets].
	Buckets int

	// Lease is how long a claim stands. It must be longer than dealing with a call's ids takes, for
	// it is not renewed: after that another claimant is given them. Defaults to [DefaultIDLease].
	Lease time.Duration
}

func (c IDsConfig) withDefaults() IDsConfig {
	c.Buckets = cmp.Or(c.Buckets, DefaultIDBuckets)
	c.Lease = cmp.Or(c.Lease, DefaultIDLease)
	return c
}

// maxIDBuckets bounds how many tables a question looks into.
const maxIDBuckets = 32

func (c IDsConfig) check() error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncepg: ids: "+format, args...))
	}
	if c.Window <= 0 {
		report("Window is %v; say for how long copies can come, such as the broker's retention", c.Window)
	}
	if c.Buckets < 1 || c.Buckets > maxIDBuckets {
		report("Buckets is %d; it must be from 1 to %d", c.Buckets, maxIDBuckets)
	} else if c.Window > 0 && c.length() < time.Second {
		report("Window is %v; a bucket must be at least a second long", c.Window)
	}
	if c.Lease < time.Millisecond {
		report("Lease is %v; it must be at least a millisecond", c.Lease)
	}
	return errors.Join(errs...)
}

// length is how long a bucket takes ids, in whole milliseconds.
func (c IDsConfig) length() time.Duration {
	return (c.Window/time.Duration(c.Buckets) + time.Millisecond - 1).Truncate(time.Millisecond)
}

// IDs is a [once.IDStore] in PostgreSQL. The ids that are done are in a table for each bucket, used
// in turn and truncated as a whole before that; claims are rows of a table, by the server's
// clock. It takes one round trip for each call.
//
// What is claimed is dealt with outside of the database; [IDs.CompleteTx] is for effects that are
// rows of the same one.
type IDs struct {
	s   *Store
	cfg IDsConfig
	sql struct{ claim, complete, completeTx, release, turn string }
}

var _ once.IDStore = (*IDs)(nil)

// IDs returns the ids in the tables that [MigrateIDs] has made in the store's schema, with the same
// Window and Buckets.
//
// Beside what the store needs, a role that did not make them needs SELECT on id_layout; SELECT and
// UPDATE on id_buckets; SELECT, INSERT, UPDATE and DELETE on id_claims; and SELECT, INSERT, DELETE
// and TRUNCATE on each of the tables ids_0, ids_1 and so on.
func (s *Store) IDs(ctx context.Context, cfg IDsConfig) (*IDs, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ids := &IDs{s: s, cfg: cfg}
	schema := quoted(s.cfg.Schema)
	ids.sql.claim = "SELECT " + schema + ".claim_ids($1::uuid[], $2::uuid, $3::interval)"
	ids.sql.complete = "SELECT " + schema + ".complete_ids($1::uuid[])"
	ids.sql.completeTx = ids.sql.complete + ", " + durably
	ids.sql.release = "DELETE FROM " + schema + ".id_claims WHERE id = ANY($1::uuid[]) AND owner = $2::uuid"
	ids.sql.turn = "SELECT " + schema + ".turn_ids()"
	if err := checkIDLayout(ctx, s.pool, s.cfg.Schema, cfg); err != nil {
		return nil, err
	}
	if err := ids.turn(ctx); err != nil {
		return nil, err
	}
	s.running.Go(func() { ids.turnOften(s.background) })
	return ids, nil
}

// turn prepares the table of the present bucket and that of the next.
func (ids *IDs) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ids.s.cfg.Timeout)
	defer cancel()
	err := ids.s.transact(ctx, func(db executor) error {
		_, err := db.Exec(ctx, ids.sql.turn)
		return err
	})
	if sqlState(err) == lockNotAvailable {
		return fmt.Errorf("oncepg: ids: a transaction is open for longer than a bucket is, so that its table "+
			"cannot be used again; end it, or make buckets longer: %w", err)
	}
	return explain(err)
}

// uuids returns the ids of the names as the tables have them.
func uuids(scope string, names []string) ([]pgtype.UUID, error) {
	if len(names) > once.MaxIDs {
		return nil, fmt.Errorf("oncepg: %d ids in one call; at most %d are allowed", len(names), once.MaxIDs)
	}
	list := make([]pgtype.UUID, len(names))
	for i, name := range names {
		k := once.Key{Scope: scope, ID: name}
		if err := k.Check(); err != nil {
			return nil, fmt.Errorf("id %d of %d: %w", i+1, len(names), err)
		}
		d := k.Digest()
		list[i] = pgtype.UUID{Bytes: [16]byte(d[:16]), Valid: true}
	}
	return list, nil
}

// ClaimIDs implements [once.IDStore]. What is done costs no write.
func (ids *IDs) ClaimIDs(ctx context.Context, scope string, o once.Owner, names []string) ([]once.IDState, error) {
	if o == (once.Owner{}) {
		return nil, errors.New("oncepg: the owner is zero; use once.NewOwner")
	}
	list, err := uuids(scope, names)
	if err != nil {
		return nil, err
	}
	var found []int16
	err = ids.try(ctx, func(ctx context.Context, db executor) error {
		return db.QueryRow(ctx, ids.sql.claim, list, ownerUUID(o), interval(ids.cfg.Lease)).Scan(&found)
	})
	if err != nil {
		return nil, err
	}
	if len(found) != len(names) {
		return nil, fmt.Errorf("oncepg: ids: the server returned %d states, want %d", len(found), len(names))
	}
	states := make([]once.IDState, len(found))
	for i, state := range found {
		states[i] = once.IDState(state)
	}
	if slices.Contains(states, once.IDDone) && !slices.Contains(states, once.IDClaimed) {
		return states, ids.s.confirm(ctx, once.Key{Scope: scope}) // it was only read
	}
	return states, nil
}

// CompleteIDs implements [once.IDStore].
func (ids *IDs) CompleteIDs(ctx context.Context, scope string, _ once.Owner, names []string) error {
	list, err := uuids(scope, names)
	if err != nil {
		return err
	}
	var fresh []bool
	err = ids.try(ctx, func(ctx context.Context, db executor) error {
		return db.QueryRow(ctx, ids.sql.complete, list).Scan(&fresh)
	})
	if err == nil && !slices.Contains(fresh, true) {
		return ids.s.confirm(ctx, once.Key{Scope: scope}) // all were done before, and only read
	}
	return err
}

// ReleaseIDs implements [once.IDStore].
func (ids *IDs) ReleaseIDs(ctx context.Context, scope string, o once.Owner, names []string) error {
	list, err := uuids(scope, names)
	if err != nil {
		return err
	}
	return ids.try(ctx, func(ctx context.Context, db executor) error {
		_, err := db.Exec(ctx, ids.sql.release, list, ownerUUID(o))
		return err
	})
}

// try makes a call, and again if it lost a deadlock, or came before the table was prepared.
func (ids *IDs) try(ctx context.Context, call func(context.Context, executor) error) error {
	const tries = 5
	var why error // the table could not be prepared
	for n := 1; ; n++ {
		if ids.s.batcher.isClosed() {
			return once.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, ids.s.cfg.Timeout)
		err := ids.s.transact(limited, func(db executor) error { return call(limited, db) })
		cancel()
		switch unprepared := sqlState(err) == notPrepared; {
		case unprepared && n == tries:
			return cmp.Or(why, errClock(err))
		case unprepared:
			if why = ids.turn(ctx); why != nil && !isYielding(why) {
				return why
			}
		case err == nil || n == tries || !isYielding(err):
			return explain(err)
		}
	}
}

// errClock is for a table that cannot be prepared, as it is for a time to come.
func errClock(err error) error {
	return fmt.Errorf("oncepg: ids: the server's clock was set back by more than the window; "+
		"set it right, or wait until it is as late as it was: %w", err)
}

// CompleteTx makes ids done if the caller's transaction is committed, and reports which of them
// were new: absent, or claimed by somebody who has not completed them. The rows that deal with
// those are to be written in the same transaction, which makes that exactly once, without any claim. An
// id that another transaction is completing is waited for: if that commits, it is not new.
//
// The window counts from this call. The transaction must end within a bucket's time: it keeps the
// tables from being used again, and without one ids can be claimed, but not completed. With an isolation above read committed the caller must be
// ready to repeat the transaction, as always. [once.ErrRolledBack] asks for the same.
func (ids *IDs) CompleteTx(ctx context.Context, tx pgx.Tx, scope string, names []string) (fresh []bool, err error) {
	list, err := uuids(scope, names)
	if err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, ids.sql.completeTx, list).Scan(&fresh, nil)
	if sqlState(err) == notPrepared {
		return nil, errors.Join(once.ErrRolledBack, ids.turn(ctx), err)
	}
	if err == nil && len(fresh) != len(names) {
		err = fmt.Errorf("oncepg: ids: the server returned %d answers, want %d", len(fresh), len(names))
	}
	return fresh, explain(err)
}
