package onceredis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once/internal/dsn"
)

// A Mode says how the servers work together.
type Mode uint8

const (
	Single   Mode = 1 + iota // one server
	Sentinel                 // a master that the sentinels name, and its replicas
	Cluster                  // Redis Cluster
)

var modeNames = [...]string{"", "single", "sentinel", "cluster"}

// String returns the mode in lower case.
func (m Mode) String() string {
	if int(m) < len(modeNames) && m != 0 {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// A Target is what a DSN names. Its text leaves the passwords out.
type Target struct {
	Mode      Mode
	Addrs     []string // host:port; of the sentinels with Sentinel
	Master    string   // the name of the set, with Sentinel
	DB        int      // number of the database; 0 with Cluster
	Encrypted bool     // TLS

	Username, Password                 string
	SentinelUsername, SentinelPassword string

	tls    dsn.TLS
	config Config // from the parameters
}

const wantDSN = "want redis://host:port/db, redis+sentinel://host:port,host:port/master/db or " +
	"redis+cluster://host:port,host:port, rediss for TLS"

// ParseDSN reads the name of the servers:
//
//	redis://user:password@host:port/db
//	redis+sentinel://user:password@host:port,host:port/master/db
//	redis+cluster://user:password@host:port,host:port
//
// With rediss, rediss+sentinel and rediss+cluster the connections are encrypted. User, password,
// port (6379; of sentinels 26379) and db (0) may be left out. Special characters in user,
// password and master are percent-encoded.
//
// Parameters follow after a question mark: prefix, min_replicas, min_replicas_timeout, max_outcome,
// max_conns, max_flush_delay, dial_timeout and timeout are fields of [Config]; sentinel_user and
// sentinel_password are for the sentinels, which do not get the servers' password; tls_ca, tls_cert
// and tls_key name PEM files, and tls_server_name the name in the servers' certificates.
//
// Errors do not repeat the DSN, since it may hold a password.
func ParseDSN(text string) (Target, error) {
	var t Target
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return t, fmt.Errorf("onceredis: DSN has no scheme; %s", wantDSN)
	}
	scheme, kind, _ := strings.Cut(scheme, "+")
	t.Mode = Mode(slices.Index(modeNames[:], kind))
	if kind == "" {
		t.Mode = Single
	}
	if t.Mode < Single || t.Mode > Cluster || kind == "single" || scheme != "redis" && scheme != "rediss" {
		return t, fmt.Errorf("onceredis: DSN has an unknown scheme; %s", wantDSN)
	}
	t.Encrypted = scheme == "rediss"
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	err := errors.Join(t.parseAuthority(authority), t.parsePath(path), t.parseQuery(query))
	return t, err
}

func (t *Target) parseAuthority(authority string) (err error) {
	var hosts string
	if t.Username, t.Password, hosts, err = dsn.CutUser(authority); err != nil {
		return fmt.Errorf("onceredis: DSN: %w", err)
	}
	port := "6379"
	if t.Mode == Sentinel {
		port = "26379"
	}
	if t.Addrs, err = dsn.Hosts(hosts, port, wantDSN); err != nil {
		return fmt.Errorf("onceredis: DSN: %w", err)
	}
	if t.Mode == Single && len(t.Addrs) > 1 {
		return errors.New("onceredis: DSN has several hosts; say redis+sentinel or redis+cluster")
	}
	return nil
}

func (t *Target) parsePath(path string) error {
	db := path
	if t.Mode == Sentinel {
		var master string
		master, db, _ = strings.Cut(path, "/")
		var err error
		if t.Master, err = url.PathUnescape(master); err != nil || t.Master == "" {
			return errors.New("onceredis: DSN: the name of the master set is missing; " +
				"want redis+sentinel://host:port,host:port/master")
		}
	}
	if db == "" {
		return nil
	}
	n, err := strconv.ParseUint(db, 10, 31)
	if err != nil {
		return errors.New("onceredis: DSN: the database after the slash is not a number")
	}
	if t.Mode == Cluster && n != 0 {
		return errors.New("onceredis: DSN: Redis Cluster has database 0 only; " +
			"use a prefix to tell applications apart")
	}
	t.DB = int(n)
	return nil
}

func (t *Target) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("onceredis: DSN: the parameters are not percent-encoded correctly")
	}
	var errs []error
	for name, v := range values {
		if err := t.parameter(name, v[len(v)-1]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (t *Target) parameter(name, value string) (err error) {
	number := func() (n int) {
		if n, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("onceredis: DSN: %s is not a number", name)
		}
		return n
	}
	duration := func() (d time.Duration) {
		if d, err = time.ParseDuration(value); err != nil {
			err = fmt.Errorf("onceredis: DSN: %s is not a duration such as 500ms", name)
		}
		return d
	}
	switch name {
	case "prefix":
		t.config.Prefix = value
	case "min_replicas":
		t.config.MinReplicas = number()
	case "min_replicas_timeout":
		t.config.MinReplicasTimeout = duration()
	case "max_outcome":
		t.config.MaxOutcome = number()
	case "max_conns":
		t.config.MaxConns = number()
	case "max_flush_delay":
		t.config.MaxFlushDelay = duration()
	case "dial_timeout":
		t.config.DialTimeout = duration()
	case "timeout":
		t.config.Timeout = duration()
	case "sentinel_user":
		t.SentinelUsername = value
	case "sentinel_password":
		t.SentinelPassword = value
	default:
		if t.tls.Set(name, value) {
			return nil
		}
		// Its name is not repeated: it may be the end of a password with a question mark in it.
		return errors.New("onceredis: DSN: unknown parameter; those that there are: " +
			"prefix, min_replicas, min_replicas_timeout, max_outcome, max_conns, max_flush_delay, " +
			"dial_timeout, timeout, sentinel_user, sentinel_password, tls_ca, tls_cert, tls_key, tls_server_name")
	}
	return err
}

// String returns the DSN without its parameters and passwords.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString("redis")
	if t.Encrypted {
		b.WriteByte('s')
	}
	if t.Mode != Single {
		b.WriteString("+" + t.Mode.String())
	}
	b.WriteString("://")
	if t.Username != "" {
		b.WriteString(url.PathEscape(t.Username) + "@")
	}
	b.WriteString(strings.Join(t.Addrs, ","))
	if t.Mode == Sentinel {
		b.WriteString("/" + url.PathEscape(t.Master))
	}
	if t.DB != 0 {
		b.WriteString("/" + strconv.Itoa(t.DB))
	}
	return b.String()
}

// GoString keeps %#v from printing the passwords.
func (t Target) GoString() string { return "onceredis.Target(" + strconv.Quote(t.String()) + ")" }

// tlsConfig returns what to connect with, or nil for no TLS.
func (t Target) tlsConfig() (*tls.Config, error) {
	if !t.Encrypted {
		if t.tls != (dsn.TLS{}) {
			return nil, errors.New("onceredis: DSN has TLS parameters but no TLS; write rediss")
		}
		return nil, nil
	}
	c, err := t.tls.Config()
	if err != nil {
		return nil, fmt.Errorf("onceredis: DSN: %w", err)
	}
	return c, nil
}
