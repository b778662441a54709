package onceetcd

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Defaults of [Config].
const (
	DefaultPrefix      = "once/"
	DefaultMaxOutcome  = 1 << 20
	DefaultDialTimeout = 5 * time.Second
	DefaultTimeout     = 3 * time.Second
)

// Config says which servers keep the records.
type Config struct {
	// DSN names the members of the cluster; see [ParseDSN]. Its path and parameters set those of
	// the fields below that are zero. Required.
	DSN string

	// Prefix begins the name of every key in etcd. Applications with different prefixes, of which
	// none begins with another, do not see each other's records. Defaults to [DefaultPrefix].
	Prefix string

	// MaxOutcome is the size of the largest outcome that is kept, in bytes. What the servers take
	// is less than their --max-request-bytes, of 1.5 MiB unless set; more is refused by them.
	// Defaults to [DefaultMaxOutcome].
	MaxOutcome int

	// DialTimeout bounds the making of a connection, and the exchange of user and password for a
	// token. Defaults to [DefaultDialTimeout].
	DialTimeout time.Duration

	// Timeout bounds every request to the servers. What was under way then has an unknown fate; a
	// guard finds out. It should be well below the lease. Defaults to [DefaultTimeout].
	Timeout time.Duration

	// TLS is used to connect if it is set, or if the DSN says so. Defaults to the system's roots,
	// and what the DSN's parameters say.
	TLS *tls.Config
}

// check reports everything that is wrong.
func (c Config) check() error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceetcd: "+format, args...))
	}
	if c.MaxOutcome < 0 {
		report("MaxOutcome is %d; it must not be negative", c.MaxOutcome)
	}
	if c.DialTimeout < 0 {
		report("DialTimeout is %v; it must not be negative", c.DialTimeout)
	}
	if c.Timeout < 0 {
		report("Timeout is %v; it must not be negative", c.Timeout)
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.MaxOutcome = cmp.Or(c.MaxOutcome, DefaultMaxOutcome)
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultDialTimeout)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	return c
}

// merge fills in what the DSN says.
func (c Config) merge(p Config) Config {
	c.Prefix = cmp.Or(c.Prefix, p.Prefix)
	c.MaxOutcome = cmp.Or(c.MaxOutcome, p.MaxOutcome)
	c.DialTimeout = cmp.Or(c.DialTimeout, p.DialTimeout)
	c.Timeout = cmp.Or(c.Timeout, p.Timeout)
	return c
}
