package oncesql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// mysqlConfig translates the URL into the driver's terms.
func mysqlConfig(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil || strings.Trim(u.Path, "/") == "" {
		// url.Parse's error quotes the DSN, and a password with it.
		return nil, errors.New("oncesql: config: DSN is not understood; use mysql://user:password@host:port/database " +
			"with special characters as %XX")
	}
	q := u.Query()
	socket := q.Get("socket")
	q.Del("socket")
	encryption, err := tlsConfig(q, u.Hostname())
	if err != nil {
		return nil, err
	}
	mc, err := mysql.ParseDSN("/?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("oncesql: config: DSN: %w", err)
	}
	if encryption != nil {
		mc.TLS = encryption
	}
	mc.User = u.User.Username()
	mc.Passwd, _ = u.User.Password()
	mc.DBName = strings.Trim(u.Path, "/")
	mc.Net, mc.Addr = "tcp", u.Host
	if u.Port() == "" {
		mc.Addr = u.Host + ":3306"
	}
	if socket != "" {
		mc.Net, mc.Addr = "unix", socket
	}
	// One round trip for a statement in place of two, and nothing prepared that a proxy between
	// would have to remember.
	mc.InterpolateParams = true
	// What it would print on stderr it returns as errors too.
	mc.Logger = new(mysql.NopLogger)
	return mc, nil
}

// tlsConfig takes the parameters tls_ca, tls_cert, tls_key and tls_server_name out of the query.
// It returns nil if there are none.
func tlsConfig(q url.Values, host string) (*tls.Config, error) {
	ca, cert, key, name := q.Get("tls_ca"), q.Get("tls_cert"), q.Get("tls_key"), q.Get("tls_server_name")
	for _, param := range []string{"tls_ca", "tls_cert", "tls_key", "tls_server_name"} {
		q.Del(param)
	}
	if ca+cert+key+name == "" {
		return nil, nil
	}
	if name == "" {
		name = host
	}
	c := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("oncesql: config: DSN: tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("oncesql: config: DSN: tls_ca holds no certificate in PEM form")
		}
	}
	if cert+key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("oncesql: config: DSN: tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
