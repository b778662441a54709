package oncepg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
)

// MaxOutcome is the largest outcome that is kept, in bytes. The server's own limit for a value
// is 1 GB, and it needs a multiple of that in memory.
const MaxOutcome = 256 << 20

// A Store is a [once.Store] in a PostgreSQL database. It may be used by any number of goroutines
// at once, and there may be any number of stores over one database.
type Store struct {
	cfg      Config
	pool     *pgxpool.Pool
	ownPool  bool
	batcher  *batcher
	sql      statements
	timeouts timeouts
	found    settings
	waits    *waits
	running  sync.WaitGroup // what runs in the background, until stop is called
	stop     context.CancelFunc

	background context.Context
	closing    sync.Once
}

var (
	_ once.Store     = (*Store)(nil)
	_ once.Lister    = (*Store)(nil)
	_ once.Sweeper   = (*Store)(nil)
	_ once.Waiter    = (*Store)(nil)
	_ once.Batcher   = (*Store)(nil)
	_ once.Forgetter = (*Store)(nil)
	_ once.Guarantor = (*Store)(nil)
)

// Open returns a store over a database in which [Migrate] has made the tables, or an error that
// says what stands in the way: the tables are not there, the server takes no writes, is too old, or would
// forget what it acknowledged. There is a [*net.OpError] or a [*pgconn.ConnectError] in it if the
// server was not reached or let nobody in, and it may help to try again. Close must be called
// when the store is no longer used.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	return open(ctx, cfg, timeouts{cfg.LockWait, cfg.Idle, true}, func(*pgxpool.Config) {})
}

// open opens a store whose own connections are as adapt makes them.
func open(ctx context.Context, cfg Config, ts timeouts, adapt func(*pgxpool.Config)) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	pool, closePool, err := cfg.connect(ctx, adapt)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, pool: pool, ownPool: cfg.Pool == nil, sql: newStatements(cfg.Schema), timeouts: ts}
	if err := s.start(ctx); err != nil {
		closePool()
		return nil, err
	}
	return s, nil
}

// connect returns the pool, and what closes it if it is the store's own.
func (cfg Config) connect(ctx context.Context, adapt func(*pgxpool.Config)) (*pgxpool.Pool, func(), error) {
	if cfg.Pool != nil {
		return cfg.Pool, func() {}, nil
	}
	pc, err := cfg.poolConfig()
	if err != nil {
		return nil, nil, err
	}
	WatchCommits(pc.ConnConfig)
	adapt(pc)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, nil, fmt.Errorf("oncepg: no pool of connections: %w", err)
	}
	return pool, pool.Close, nil
}

// start looks at the server, and begins what runs in the background.
func (s *Store) start(ctx context.Context) error {
	found, err := inspect(ctx, s.pool)
	if cut := noConnection(err); cut != nil {
		return cut
	}
	if err != nil {
		return fmt.Errorf("oncepg: the server could not be asked for its settings: %w", err)
	}
	if err := found.refuse(s.cfg); err != nil {
		return err
	}
	if err := checkSchema(ctx, s.pool, s.cfg.Schema); err != nil {
		return err
	}
	listen, err := s.cfg.listenDial(s.pool)
	if err != nil {
		return err
	}
	s.found = found
	s.sql.claiming.confirm = found.synchronous()
	s.batcher = &batcher{pool: s.pool, timeout: s.cfg.Timeout}
	s.batcher.before, s.batcher.after = found.transaction()
	s.background, s.stop = context.WithCancel(context.Background())
	s.waits = newWaits(listen, channel(s.cfg.Schema))
	if s.cfg.Sweep > 0 {
		s.running.Go(func() { s.sweepOften(s.background) })
	}
	return nil
}

// Close ends the store and its connections, unless they are the caller's. Verbs that follow
// return [once.ErrClosed], and waits end.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.batcher.close()
		s.stop()
		s.waits.close()
		s.running.Wait()
		if s.ownPool {
			s.pool.Close()
		}
	})
	return nil
}

// verb carries out a statement that changes at most the row of the key, and reports whether it
// did.
func (s *Store) verb(ctx context.Context, k once.Key, sql string, args ...any) (bool, error) {
	c := &call{ctx: ctx, key: k, sql: sql, args: append([]any{[]byte(k.Scope), []byte(k.ID)}, args...)}
	if err := s.batcher.do(c); err != nil {
		return false, explain(err)
	}
	return c.found, nil
}

// owners is verb for a verb that only the owner may use.
func (s *Store) owners(ctx context.Context, k once.Key, o once.Owner, sql string, args ...any) error {
	found, err := s.verb(ctx, k, sql, append([]any{ownerUUID(o)}, args...)...)
	if err == nil && !found {
		return once.ErrLost
	}
	return err
}

// Renew implements [once.Store].
func (s *Store) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	return s.owners(ctx, k, o, s.sql.renew, interval(max(lease, 0)))
}

// Complete implements [once.Store]. An outcome of more than [MaxOutcome] bytes is refused with
// ErrTooLarge.
func (s *Store) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if len(out.Data) > MaxOutcome {
		return fmt.Errorf("oncepg: outcome has %d bytes, at most %d are kept: %w",
			len(out.Data), MaxOutcome, once.ErrTooLarge)
	}
	var err error
	if retention <= 0 {
		err = s.owners(ctx, k, o, s.sql.free)
	} else {
		err = s.owners(ctx, k, o, s.sql.complete, completion(out, retention)...)
	}
	if !errors.Is(err, once.ErrLost) {
		return err
	}
	return s.stands(ctx, k, o, out) // it may be a repetition
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

// completion returns the arguments of the statement complete after the owner.
func completion(out once.Outcome, retention time.Duration) []any {
	return []any{out.Failed, []byte(out.Type), out.Data, interval(retention)}
}

// Release implements [once.Store].
func (s *Store) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return s.owners(ctx, k, o, s.sql.free)
}

// Load implements [once.Store].
func (s *Store) Load(ctx context.Context, k once.Key) (once.Record, error) {
	c := &call{ctx: ctx, key: k, sql: s.sql.load, args: []any{[]byte(k.Scope), []byte(k.ID)}, row: new(row)}
	if err := s.batcher.do(c); err != nil {
		return once.Record{}, explain(err)
	}
	if !c.found || c.row.over() {
		return once.Record{}, once.ErrNotFound
	}
	rec := c.row.record(k)
	if rec.State == once.Done {
		if err := s.confirm(ctx, k); err != nil {
			return once.Record{}, err
		}
	}
	return rec, nil
}

// Forget implements [once.Forgetter].
func (s *Store) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	err := s.owners(ctx, k, o, s.sql.forget)
	if !errors.Is(err, once.ErrLost) {
		return err
	}
	if _, loading := s.Load(ctx, k); loading != nil {
		return loading // not found, or unknown
	}
	return once.ErrLost
}
