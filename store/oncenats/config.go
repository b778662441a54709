package oncenats

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Defaults of [Config].
const (
	DefaultStream      = "ONCE"
	DefaultDialTimeout = 2 * time.Second
	DefaultTimeout     = 5 * time.Second
)

// Config says which servers and which stream keep the records.
type Config struct {
	// DSN names the servers and the stream; see [ParseDSN]. Its parameters set those of the
	// fields below that are zero. Required.
	DSN string

	// MaxOutcome is the size of the largest outcome that is kept, in bytes. The server's
	// max_payload, 1 MiB by default, is another limit, of outcome, key and about 300 bytes
	// together. Defaults to what the server allows.
	MaxOutcome int

	// Monitor has the addresses of the servers' HTTP monitoring, such as http://10.0.0.1:8222,
	// one for each server that keeps the stream. Only there do servers tell when they sync, and
	// so the store needs it to promise that a loss of power loses nothing. Defaults to none.
	Monitor []string

	// Replicas is how many servers keep the stream that [Migrate] makes: 1, 3 or 5. It has no
	// effect on one that exists, unless Migrate is run again.
	// Defaults to 3 in a cluster, and else to 1.
	Replicas int

	// MaxBytes is how large the stream that [Migrate] makes may grow. When it is full, new claims
	// are refused. Defaults to 0: as large as the server allows.
	MaxBytes int64

	// DialTimeout bounds the making of a connection to one server.
	// Defaults to [DefaultDialTimeout].
	DialTimeout time.Duration

	// Timeout bounds every verb, beside its context: NATS does not answer at all while the stream
	// has no leader. What was under way then has an unknown fate; a guard finds out. It should be
	// well below the lease. Defaults to [DefaultTimeout].
	Timeout time.Duration

	// TLS is used to connect if it is set, or if the DSN says so. Defaults to the system's roots,
	// and what the DSN's parameters say.
	TLS *tls.Config
}

// check reports everything that is wrong.
func (c Config) check() error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncenats: "+format, args...))
	}
	if c.MaxOutcome < 0 {
		report("MaxOutcome is %d; it must not be negative", c.MaxOutcome)
	}
	if c.MaxBytes < 0 {
		report("MaxBytes is %d; it must not be negative", c.MaxBytes)
	}
	if !slices.Contains([]int{0, 1, 3, 5}, c.Replicas) {
		report("Replicas is %d; it must be 1, 3 or 5", c.Replicas)
	}
	if c.DialTimeout < 0 {
		report("DialTimeout is %v; it must not be negative", c.DialTimeout)
	}
	if c.Timeout < 0 {
		report("Timeout is %v; it must not be negative", c.Timeout)
	}
	return errors.Join(errs...)
}

// merge fills in what the DSN's parameters say.
func (c Config) merge(p Config) Config {
	c.MaxOutcome = cmp.Or(c.MaxOutcome, p.MaxOutcome)
	c.Replicas = cmp.Or(c.Replicas, p.Replicas)
	c.MaxBytes = cmp.Or(c.MaxBytes, p.MaxBytes)
	c.DialTimeout = cmp.Or(c.DialTimeout, p.DialTimeout)
	c.Timeout = cmp.Or(c.Timeout, p.Timeout)
	if c.Monitor == nil {
		c.Monitor = p.Monitor
	}
	return c
}

func (c Config) withDefaults() Config {
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultDialTimeout)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	return c
}
