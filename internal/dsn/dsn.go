// Package dsn reads the parts of a DSN that stores in servers have in common. Its errors say what
// is wrong without a prefix, and never repeat what was read: it may be a password.
package dsn

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
)

// CutUser takes the user and the password off the authority, "user:password@hosts", in which they
// are percent-encoded and may be left out.
func CutUser(authority string) (user, password, hosts string, err error) {
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return "", "", authority, nil
	}
	user, password, _ = strings.Cut(authority[:at], ":")
	user, err1 := url.PathUnescape(user)
	password, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return "", "", "", errors.New("user or password is not percent-encoded correctly")
	}
	return user, password, authority[at+1:], nil
}

// Hosts returns the addresses that are separated by commas, each with a port. want says what a
// DSN looks like.
func Hosts(hosts, defaultPort, want string) ([]string, error) {
	var addrs []string
	for host := range strings.SplitSeq(hosts, ",") {
		port := defaultPort
		if h, p, err := net.SplitHostPort(host); err == nil {
			host, port = h, p
		} else {
			host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("a port is not a number from 1 to 65535")
		}
		if host == "" {
			return nil, fmt.Errorf("a host is missing; %s", want)
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

// TLS is what the parameters tls_ca, tls_cert, tls_key and tls_server_name say: paths of PEM
// files, and the name in the servers' certificates.
type TLS struct{ CA, Cert, Key, ServerName string }

// Set notes a parameter, and reports whether it is one of these.
func (t *TLS) Set(name, value string) bool {
	switch name {
	case "tls_ca":
		t.CA = value
	case "tls_cert":
		t.Cert = value
	case "tls_key":
		t.Key = value
	case "tls_server_name":
		t.ServerName = value
	default:
		return false
	}
	return true
}

// Config reads the files. Without tls_ca the system's authorities are trusted.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls_ca holds no certificate in PEM form")
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
