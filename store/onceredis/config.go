package onceredis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultPrefix             = "once"
	DefaultMinReplicasTimeout = time.Second
	DefaultMaxOutcome         = 4 << 20
	DefaultMaxConns           = 64
	DefaultDialTimeout        = 2 * time.Second
	DefaultTimeout            = 3 * time.Second
)

// Config says which servers keep the records, and how sure a claim must be.
type Config struct {
	// DSN names the servers; see [ParseDSN]. Its parameters set those of the fields below that are
	// zero. Required.
	DSN string

	// Prefix begins the name of every key in Redis. Applications with different prefixes do not
	// see each other's records. Braces are not allowed. Defaults to [DefaultPrefix].
	Prefix string

	// MinReplicas is how many replicas must have confirmed a claim, an outcome or what is replayed
	// (WAIT) before it counts. That makes it unlikely that a failover forgets one, but does not
	// exclude it; and it takes as long as those replicas do. While fewer are connected, also
	// after a failover, nothing can be claimed. Renewals and releases are not waited for: losing one
	// puts an operation in doubt and no more. Defaults to 0: the master's word is enough.
	MinReplicas int

	// MinReplicasTimeout is how long to wait for them. A claim that was not confirmed is taken
	// back if possible. Defaults to [DefaultMinReplicasTimeout].
	MinReplicasTimeout time.Duration

	// MaxOutcome is the size of the largest outcome that is kept, in bytes: while the server
	// handles a large one everybody else waits. Defaults to [DefaultMaxOutcome].
	MaxOutcome int

	// MaxConns bounds the connections to each server with MinReplicas, where every verb in
	// progress needs one; without it, all share a few. Defaults to [DefaultMaxConns].
	MaxConns int

	// MaxFlushDelay is how long a request may be held back so that it travels together with
	// others: less work for client and server, later answers. 20 µs is a sensible value. It has no
	// effect on callers that are alone. Defaults to 0: not at all.
	MaxFlushDelay time.Duration

	// DialTimeout bounds the making of a connection, and after that the server's first answer on
	// it. A caller that needs a new connection may have to wait that long, whatever its context
	// says, since the connection is for others too. Defaults to [DefaultDialTimeout].
	DialTimeout time.Duration

	// Timeout is how long a server may be silent while an answer is due, before the connection is
	// given up and made anew. What was under way on it has an unknown fate; a guard finds out.
	// It should be well below the lease. Defaults to [DefaultTimeout].
	Timeout time.Duration

	// TLS is used to connect if it is set, or if the DSN says so. Defaults to the system's roots,
	// and what the DSN's parameters say.
	TLS *tls.Config
}

// check reports everything that is wrong.
func (c Config) check() error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceredis: "+format, args...))
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		report("Prefix has braces, which are for Redis Cluster; leave them out")
	}
	if c.MinReplicas < 0 {
		report("MinReplicas is %d; it must not be negative", c.MinReplicas)
	}
	if c.MaxOutcome < 0 {
		report("MaxOutcome is %d; it must not be negative", c.MaxOutcome)
	}
	if c.MaxConns < 0 {
		report("MaxConns is %d; it must not be negative", c.MaxConns)
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"MinReplicasTimeout", c.MinReplicasTimeout},
		{"MaxFlushDelay", c.MaxFlushDelay},
		{"DialTimeout", c.DialTimeout},
		{"Timeout", c.Timeout},
	} {
		if d.d < 0 {
			report("%s is %v; it must not be negative", d.name, d.d)
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.MinReplicasTimeout = cmp.Or(c.MinReplicasTimeout, DefaultMinReplicasTimeout)
	c.MaxOutcome = cmp.Or(c.MaxOutcome, DefaultMaxOutcome)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultDialTimeout)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	return c
}
