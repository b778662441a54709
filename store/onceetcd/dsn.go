package onceetcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Target is what a DSN names. Its text leaves the password out.
type Target struct {
	Addrs              []string // host:port
	Encrypted          bool     // TLS
	Username, Password string

	tls    tlsFiles
	config Config // from the path and the parameters
}

// tlsFiles are the parameters for TLS.
type tlsFiles struct{ ca, cert, key, serverName string }

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
func ParseDSN(dsn string) (Target, error) {
	var t Target
	scheme, rest, found := strings.Cut(dsn, "://")
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

func (t *Target) parseAuthority(authority string) error {
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		hosts = authority[at+1:]
		var err1, err2 error
		t.Username, err1 = url.PathUnescape(user)
		t.Password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return errors.New("onceetcd: DSN: user or password is not percent-encoded correctly")
		}
		if t.Username == "" || t.Password == "" {
			return errors.New("onceetcd: DSN: user and password are used together; give both or none")
		}
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := withPort(host)
		if err != nil {
			return err
		}
		t.Addrs = append(t.Addrs, addr)
	}
	return nil
}

func withPort(host string) (string, error) {
	port := "2379"
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("onceetcd: DSN: a port is not a number from 1 to 65535")
	}
	if host == "" {
		return "", fmt.Errorf("onceetcd: DSN: a host is missing; %s", wantDSN)
	}
	return net.JoinHostPort(host, port), nil
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
	case "tls_ca":
		t.tls.ca = value
	case "tls_cert":
		t.tls.cert = value
	case "tls_key":
		t.tls.key = value
	case "tls_server_name":
		t.tls.serverName = value
	default:
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
		if t.tls != (tlsFiles{}) {
			return nil, errors.New("onceetcd: DSN has TLS parameters but no TLS; write etcds")
		}
		return nil, nil
	}
	c := &tls.Config{ServerName: t.tls.serverName, MinVersion: tls.VersionTLS12}
	if t.tls.ca != "" {
		pem, err := os.ReadFile(t.tls.ca)
		if err != nil {
			return nil, fmt.Errorf("onceetcd: DSN: tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("onceetcd: DSN: tls_ca holds no certificate in PEM form")
		}
	}
	if t.tls.cert != "" || t.tls.key != "" {
		pair, err := tls.LoadX509KeyPair(t.tls.cert, t.tls.key)
		if err != nil {
			return nil, fmt.Errorf("onceetcd: DSN: tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
