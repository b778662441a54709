package oncesql

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/oncehq/once/internal/dsn"
)

// mysqlConfig translates the URL into the driver's terms.
func mysqlConfig(text string) (*mysql.Config, error) {
	u, err := url.Parse(text)
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
	var files dsn.TLS
	for name := range q {
		if files.Set(name, q.Get(name)) {
			q.Del(name)
		}
	}
	if files == (dsn.TLS{}) {
		return nil, nil
	}
	files.ServerName = cmp.Or(files.ServerName, host)
	c, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("oncesql: config: DSN: %w", err)
	}
	return c, nil
}
