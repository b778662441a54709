package oncesql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oncehq/once"
)

// maxType is the limit of once.Outcome.Type, and of its column.
const maxType = 255

// A Store is a [once.Store] in an SQL database. It may be used by any number of goroutines at
// once, and there may be any number of stores over one database.
type Store struct {
	cfg    Config
	engine engine
	sql    statements
	found  once.Guarantees

	confirmer *confirmer // nil: what can be seen is on disk

	stop    context.CancelFunc // ends what runs in the background
	running sync.WaitGroup
	closed  atomic.Bool
}

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Sweeper   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
)

// An engine is the database behind a store: SQLite's or MySQL's.
type engine interface {
	scheme() string
	inspect(ctx context.Context) (settings, error)

	// adopt takes note of what was found, before all that follows.
	adopt(settings)
	dialect() dialect

	// reader is for statements that change nothing. They see all that was committed before.
	reader() *sql.DB

	// change carries out one of the statements that return a fence, and returns it, or zero if the
	// statement changed nothing. When it returns, the change is as durable as the engine makes it.
	change(ctx context.Context, statement string, args ...any) (int64, error)

	// see carries out a statement that returns one row.
	see(ctx context.Context, statement string, args []any, into ...any) error

	// openOperations makes what the rest is about: transactions of operations.
	openOperations(cfg Config) error

	// operations are the connections for them. In no case does a statement take effect by itself
	// after the engine has rolled a transaction back.
	operations() *sql.DB

	// changeIn is change in a transaction.
	changeIn(ctx context.Context, tx *sql.Tx, statement string, args ...any) (int64, error)

	// end commits a transaction or rolls it back.
	end(ctx context.Context, tx *sql.Tx, commit bool) error

	// moment is the time in microseconds, if the engine's own is coarser than that; else zero.
	moment() int64

	// looksFirst says that to look for a row costs less than to try and fail to insert it.
	looksFirst() bool

	// sweep removes at most that many rows that are over, without waiting for those that a verb
	// has locked.
	sweep(ctx context.Context, st *statements, limit int) (int, error)

	// alone calls f with a connection while nobody else does so in any process.
	alone(ctx context.Context, f func(*sql.Conn) error) error

	maxOutcome() int
	close() error
}

// Open returns a store over a database in which [Migrate] has made the tables, or an error that
// says what stands in the way. There is a [*net.OpError] in it if the server was not reached, and
// it may help to try again. Close must be called when the store is no longer used.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	engine, err := cfg.connect(false)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, engine: engine}
	if err := s.start(ctx); err != nil {
		engine.close()
		return nil, err
	}
	return s, nil
}

// start looks at the database, and begins what runs in the background.
func (s *Store) start(ctx context.Context) error {
	found, err := s.engine.inspect(ctx)
	if noConnection(err) {
		return err
	}
	if err != nil {
		return fmt.Errorf("oncesql: the database could not be asked for its settings: %w", err)
	}
	if err := found.refuse(s.cfg); err != nil {
		return err
	}
	if err := checkSchema(ctx, s.engine); err != nil {
		return err
	}
	s.engine.adopt(found)
	s.found, s.sql = found.Guarantees, newStatements(s.engine.dialect())
	if found.early {
		s.confirmer = &confirmer{row: once.NewOwner()}
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	if s.cfg.Sweep > 0 {
		s.running.Go(func() { s.sweepOften(background) })
	}
	return nil
}

// Close ends the store and its connections. Verbs that follow return [once.ErrClosed].
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	s.running.Wait()
	return s.engine.close()
}

// Guarantees implements [once.Guarantor]. They are those of the database's settings when the
// store was opened.
func (s *Store) Guarantees() once.Guarantees { return s.found }

// MaxOutcome returns the size of the largest outcome that the database takes, in bytes.
func (s *Store) MaxOutcome() int { return s.engine.maxOutcome() }

// enter begins a verb.
func (s *Store) enter(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if s.closed.Load() {
		return nil, nil, once.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	return ctx, cancel, nil
}

// owners carries out a statement that ends with the condition {owned}.
func (s *Store) owners(ctx context.Context, statement string, k once.Key, o once.Owner, args ...any) error {
	ctx, cancel, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	fence, err := s.engine.change(ctx, statement, append(args, []byte(k.Scope), []byte(k.ID), o[:])...)
	if err == nil && fence == 0 {
		return once.ErrLost
	}
	return explain(err)
}

// Renew implements [once.Store].
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	d := micros(max(lease, 0))
	return s.owners(ctx, s.sql.renew, k, o, d, d)
}

// Complete implements [once.Store]. An outcome of more than [Store.MaxOutcome] bytes is refused
// with ErrTooLarge.
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	err := s.fits(out)
	if err != nil {
		return err
	}
	if retention <= 0 {
		err = s.owners(ctx, s.sql.free, k, o)
	} else {
		err = s.owners(ctx, s.sql.complete, k, o, out.Failed, []byte(out.Type), out.Data, micros(retention))
	}
	if !errors.Is(err, once.ErrLost) {
		return err
	}
	return s.stands(ctx, k, o, out) // it may be a repetition
}

// fits returns nil if the outcome can be kept.
func (s *Store) fits(out once.Outcome) error {
	if most := s.engine.maxOutcome(); len(out.Data) > most {
		return fmt.Errorf("oncesql: outcome has %d bytes, at most %d are kept: %w",
			len(out.Data), most, once.ErrTooLarge)
	}
	if len(out.Type) > maxType {
		return fmt.Errorf("oncesql: outcome's media type has %d bytes; at most %d are allowed", len(out.Type), maxType)
	}
	return nil
}

// stands returns nil if the operation was completed by this owner with this outcome.
func (s *Store) stands(ctx context.Context, k once.Key, o once.Owner, out once.Outcome) error {
	rec, err := s.Load(ctx, k)
	switch {
	case err == nil && rec.State == once.Done && rec.Owner == o && rec.Outcome.Equal(out):
		return nil
	case err == nil || errors.Is(err, once.ErrNotFound):
		return once.ErrLost
	}
	return err
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return s.owners(ctx, s.sql.free, k, o)
}

// Load implements [once.Store].
func (s *Store) Load(ctx context.Context, k once.Key) (once.Record, error) {
	ctx, cancel, err := s.enter(ctx)
	if err != nil {
		return once.Record{}, err
	}
	defer cancel()
	r, err := s.look(ctx, k)
	switch {
	case err != nil:
		return once.Record{}, err
	case r == nil || r.over():
		return once.Record{}, once.ErrNotFound
	}
	rec := r.record(k)
	if s.unsure(once.Claim{}, r, rec) {
		return rec, s.confirm(ctx)
	}
	return rec, nil
}

// look reads the row of the key, or nil.
func (s *Store) look(ctx context.Context, k once.Key) (*row, error) {
	r := new(row)
	err := s.engine.see(ctx, s.sql.load, []any{[]byte(k.Scope), []byte(k.ID)}, r.columns()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, explain(err)
}

// Forget implements [once.Forgetter]. It looks first: MySQL would wait for another transaction's
// lock even on a row that is not the one to be forgotten.
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	rec, err := s.Load(ctx, k)
	switch {
	case err != nil:
		return err
	case rec.Owner != o:
		return once.ErrLost
	}
	return s.owners(ctx, s.sql.forget, k, o)
}
