package onceetcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once/internal/dsn"
)

// A Target is what a DSN names. Its text leaves the password out.
type Target struct {
	Addrs              []string // host:port
	Encrypted          bool     // TLS
	Username, Password string

	tls    dsn.TLS
	config Config // from the path and the parameters
}

const wantDSN = "want etcd://host:port,host:port/prefix, etcds for TLS"

// ParseDSN reads the name of the servers:
//
//	etcd://user:password@host:port,host:port/prefix
//
// With etcds the connections are encrypted. User, password, port (2379) and prefix (once) may be
// left out. Special characters in user, password and prefix are percent-encoded. A prefix
// ends in a slash, which may be left out too.
//
// Parameters follow after a question mark: max_outcome, dial_timeout and timeout are fields of
// [Config]; tls_ca, tls_cert and tls_key name PEM files, and tls_server_name the name in the
// servers' certificates.
//
// Errors do not repeat the DSN, since it may hold a password.
func ParseDSN(text string) (Target, error) {
	var t Target
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return t, fmt.Errorf("onceetcd: DSN has no scheme; %s", wantDSN)
	}
	if scheme != "etcd" && scheme != "etcds" {
		return t, fmt.Errorf("onceetcd: DSN has an unknown scheme; %s", wantDSN)
	}
	t.Encrypted = scheme == "etcds"
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	err := errors.Join(t.parseAuthority(authority), t.parsePath(path), t.parseQuery(query))
	return t, err
}

func (t *Target) parseAuthority(authority string) (err error) {
	var hosts string
	if t.Username, t.Password, hosts, err = dsn.CutUser(authority); err != nil {
		return fmt.Errorf("onceetcd: DSN: %w", err)
	}
	if strings.Contains(authority, "@") && (t.Username == "" || t.Password == "") {
		return errors.New("onceetcd: DSN: user and password are used together; give both or none")
	}
	if t.Addrs, err = dsn.Hosts(hosts, "2379", wantDSN); err != nil {
		return fmt.Errorf("onceetcd: DSN: %w", err)
	}
	return nil
}

func (t *Target) parsePath(path string) error {
	prefix, err := url.PathUnescape(path)
	if err != nil {
		return errors.New("onceetcd: DSN: the prefix is not percent-encoded correctly")
	}
	if prefix != "" {
		t.config.Prefix = strings.TrimSuffix(prefix, "/") + "/"
	}
	return nil
}

func (t *Target) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("onceetcd: DSN: the parameters are not percent-encoded correctly")
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
	duration := func() (d time.Duration) {
		if d, err = time.ParseDuration(value); err != nil {
			err = fmt.Errorf("onceetcd: DSN: %s is not a duration such as 500ms", name)
		}
		return d
	}
	switch name {
	case "max_outcome":
		if t.config.MaxOutcome, err = strconv.Atoi(value); err != nil {
			err = errors.New("onceetcd: DSN: max_outcome is not a number")
		}
	case "dial_timeout":
		t.config.DialTimeout = duration()
	case "timeout":
		t.config.Timeout = duration()
	default:
		if t.tls.Set(name, value) {
			return nil
		}
		// Its name is not repeated: it may be the end of a password with a question mark in it.
		return errors.New("onceetcd: DSN: unknown parameter; those that there are: " +
			"max_outcome, dial_timeout, timeout, tls_ca, tls_cert, tls_key, tls_server_name")
	}
	return err
}

// String returns the DSN without its parameters and password.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString("etcd")
	if t.Encrypted {
		b.WriteByte('s')
	}
	b.WriteString("://")
	if t.Username != "" {
		b.WriteString(url.PathEscape(t.Username) + "@")
	}
	b.WriteString(strings.Join(t.Addrs, ","))
	if t.config.Prefix != "" {
		b.WriteString("/" + url.PathEscape(strings.TrimSuffix(t.config.Prefix, "/")))
	}
	return b.String()
}

// GoString keeps %#v from printing the password.
func (t Target) GoString() string { return "onceetcd.Target(" + strconv.Quote(t.String()) + ")" }

// Prefix returns what the DSN's path says of [Config.Prefix], or nothing.
func (t Target) Prefix() string { return t.config.Prefix }

// tlsConfig returns what to connect with, or nil for no TLS.
func (t Target) tlsConfig() (*tls.Config, error) {
	if !t.Encrypted {
		if t.tls != (dsn.TLS{}) {
			return nil, errors.New("onceetcd: DSN has TLS parameters but no TLS; write etcds")
		}
		return nil, nil
	}
	c, err := t.tls.Config()
	if err != nil {
		return nil, fmt.Errorf("onceetcd: DSN: %w", err)
	}
	return c, nil
}
