package oncesql

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultTimeout  = 5 * time.Second
	DefaultSweep    = time.Minute
	DefaultMaxConns = 16
	DefaultLockWait = 2 * time.Second
)

// A Config says how to reach the database and how to use it.
type Config struct {
	// DSN names the database:
	//
	//	sqlite:PATH                                a file, made if it is not there
	//	mysql://user:password@host:port/database   MySQL 8 or MariaDB 10.6, or newer
	//
	// A mysql DSN may end with parameters of github.com/go-sql-driver/mysql, such as tls=true,
	// with socket=PATH to use a socket in place of host and port, and with tls_ca, tls_cert and
	// tls_key, which name PEM files, and tls_server_name. Each of these turns TLS on. Required.
	DSN string

	// MaxConns bounds the connections to a server. Defaults to [DefaultMaxConns]. SQLite has one
	// for writing, as there is only one writer at a time, and up to four for reading.
	MaxConns int

	// Timeout bounds a verb, beside its context, and with SQLite how long it waits for another
	// process that is writing. Defaults to [DefaultTimeout].
	Timeout time.Duration

	// Sweep is how often this process removes records that are over; many processes may do so
	// at once. Negative: never. Defaults to [DefaultSweep].
	Sweep time.Duration

	// LockWait is how long a transactional claim waits for another transaction that has claimed
	// the same operation, before it is refused with ErrInFlight. MySQL counts in seconds,
	// rounded up. Only for [OpenTransactional]. Defaults to [DefaultLockWait].
	LockWait time.Duration

	// DangerouslyAllowLoss accepts a server whose settings let it forget what it acknowledged
	// when it crashes. For tests. Defaults to false.
	DangerouslyAllowLoss bool
}

func (cfg Config) withDefaults() Config {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Sweep == 0 {
		cfg.Sweep = DefaultSweep
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = DefaultLockWait
	}
	return cfg
}

func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncesql: config: "+format, args...))
	}
	if cfg.DSN == "" {
		bad("DSN is missing; use sqlite:PATH or mysql://user:password@host:port/database")
	}
	if cfg.MaxConns < 1 {
		bad("MaxConns is %d; it must be positive", cfg.MaxConns)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Timeout", cfg.Timeout}, {"LockWait", cfg.LockWait}} {
		if d.value < time.Millisecond {
			bad("%s is %v; it must be at least a millisecond", d.name, d.value)
		}
	}
	return errors.Join(errs...)
}

// connect returns the engine that the DSN names. It makes no connection yet, and a file only if
// create says so.
func (cfg Config) connect(create bool) (engine, error) {
	scheme, _, _ := strings.Cut(cfg.DSN, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(cfg, create)
	case "mysql", "mariadb":
		return openMySQL(cfg)
	}
	// The DSN itself may hold a password, and is not quoted.
	return nil, errors.New("oncesql: config: DSN begins with neither sqlite: nor mysql:; " +
		"use sqlite:PATH or mysql://user:password@host:port/database")
}
