package oncepg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Defaults of [Config].
const (
	DefaultSchema   = "once"
	DefaultTimeout  = 5 * time.Second
	DefaultSweep    = time.Minute
	DefaultLockWait = 2 * time.Second
	DefaultIdle     = time.Minute

	// DefaultMaxConns bounds the connections of a store's own pool, if its DSN does not, with
	// pool_max_conns. A transactional store needs one for each operation at a time. Others use
	// three or four, unless some are being given up.
	DefaultMaxConns = 32
)

// A Config says how to reach the database and how to use it.
type Config struct {
	// DSN names the database: a postgres:// URL, or keywords and values, as libpq takes them.
	// pgx's own parameters (pool_max_conns, default_query_exec_mode, …) may be part of it.
	// Required, unless Pool is set.
	DSN string

	// Pool is used in place of connections of the store's own. It stays the caller's: Close
	// leaves it open. Defaults to a pool for DSN.
	//
	// A pool that pgxpool makes has four connections, or as many as there are processors if that
	// is more, unless MaxConns or pool_max_conns says otherwise. That is as many operations as a
	// transactional store runs at once, less one for each step within them: see
	// [DefaultMaxConns] for what the store would have taken.
	Pool *pgxpool.Pool

	// Schema is the database schema that holds the tables. Defaults to [DefaultSchema].
	Schema string

	// Pooler says that the connections lead to a pooler in transaction mode, such as PgBouncer:
	// nothing may be left in a session, so statements are not prepared and LISTEN is not used
	// on them. Defaults to false.
	Pooler bool

	// Listen is a DSN that leads to the server itself, for the one connection that is told when
	// operations end. Defaults to a connection like the others; with Pooler to none, and waiting
	// callers ask the store from time to time.
	Listen string

	// Timeout bounds a round trip, beside the contexts of those who wait for it: a connection
	// on which nothing has come back for so long is given up. Defaults to [DefaultTimeout].
	Timeout time.Duration

	// Sweep is how often this process removes records that are over; many processes may do so
	// at once. Negative: never. Defaults to [DefaultSweep].
	Sweep time.Duration

	// LockWait is how long a transactional claim waits for another transaction that has claimed
	// the same operation, before it is refused with ErrInFlight. Only for
	// [OpenTransactional]. Defaults to [DefaultLockWait].
	LockWait time.Duration

	// Idle is how long the transaction of an operation may be without a statement, before the
	// server ends it: by that a process that froze or was cut off gives the operation back.
	// An operation that does other things between its statements needs longer. Only for
	// [OpenTransactional]. Defaults to [DefaultIdle].
	Idle time.Duration

	// Isolation is that of the operation's transactions. Only for [OpenTransactional].
	// Defaults to read committed.
	Isolation pgx.TxIsoLevel

	// DangerouslyAllowNoFsync accepts a server that runs with fsync off: after a crash of its
	// machine not only claims but whole tables may be gone. For tests. Defaults to false.
	DangerouslyAllowNoFsync bool
}

func (cfg Config) withDefaults() Config {
	if cfg.Schema == "" {
		cfg.Schema = DefaultSchema
	}
	if cfg.Isolation == "" {
		cfg.Isolation = pgx.ReadCommitted
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&cfg.Timeout, DefaultTimeout}, {&cfg.Sweep, DefaultSweep},
		{&cfg.LockWait, DefaultLockWait}, {&cfg.Idle, DefaultIdle},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	return cfg
}

func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncepg: config: "+format, args...))
	}
	switch {
	case cfg.DSN == "" && cfg.Pool == nil:
		bad("DSN is missing; use for example postgres://user@host/database")
	case cfg.DSN != "" && cfg.Pool != nil:
		bad("DSN and Pool are both set; use one of them")
	}
	// The longest name of the server's has 63 bytes, and ours is also part of a channel's.
	if len(cfg.Schema) > 50 {
		bad("Schema has %d bytes; at most 50 are allowed", len(cfg.Schema))
	}
	switch cfg.Isolation {
	case pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable:
	default:
		bad("Isolation is %q; use pgx.ReadCommitted, pgx.RepeatableRead or pgx.Serializable", cfg.Isolation)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Timeout", cfg.Timeout}, {"LockWait", cfg.LockWait}, {"Idle", cfg.Idle}} {
		if d.value < time.Millisecond {
			bad("%s is %v; it must be at least a millisecond", d.name, d.value)
		}
	}
	return errors.Join(errs...)
}

// poolConfig returns how the store's own connections are made.
func (cfg Config) poolConfig() (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		// The text of pgx's error leaves out the password.
		return nil, fmt.Errorf("oncepg: config: DSN is not understood; use postgres://user@host/database: %w", err)
	}
	if !strings.Contains(cfg.DSN, "pool_max_conns") {
		pc.MaxConns = DefaultMaxConns
	}
	if cfg.Pooler {
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" && !cfg.Pooler {
		pc.ConnConfig.RuntimeParams["application_name"] = "once"
	}
	return pc, nil
}

// A dial makes a connection.
type dial func(context.Context) (*pgx.Conn, error)

// listenDial returns what makes the connection that is told when operations end, or nil if there is
// to be none.
func (cfg Config) listenDial(pool *pgxpool.Pool) (dial, error) {
	switch {
	case cfg.Listen != "":
		cc, err := pgx.ParseConfig(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("oncepg: config: Listen is not understood; use postgres://user@host/database: %w", err)
		}
		return func(ctx context.Context) (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, cc) }, nil
	case cfg.Pooler:
		return nil, nil
	}
	pc := pool.Config()
	return func(ctx context.Context) (*pgx.Conn, error) {
		cc := pc.ConnConfig.Copy()
		if pc.BeforeConnect != nil { // which may set a password that is soon over
			if err := pc.BeforeConnect(ctx, cc); err != nil {
				return nil, err
			}
		}
		return pgx.ConnectConfig(ctx, cc)
	}, nil
}
