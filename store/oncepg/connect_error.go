package oncepg

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// A connectError says first that there is no connection, and to which server. pgx's own text
// begins with the user and has a line for each try, of which it makes several at one address.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.err }

// noConnection returns an error that says so if that is what err is about, or nil.
func noConnection(err error) error {
	if already, ok := errors.AsType[*connectError](err); ok {
		return already
	}
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return nil
	}
	return &connectError{
		fmt.Sprintf("oncepg: cannot connect to %s: %s%s", hosts(failed.Config), reasons(failed.Unwrap()), advice(err)), err,
	}
}

// hosts names the servers of a config, and nothing else that is in its DSN.
func hosts(cfg *pgconn.Config) string {
	name := func(host string, port uint16) string {
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	all := []string{name(cfg.Host, cfg.Port)}
	for _, f := range cfg.Fallbacks { // also those that differ in TLS alone
		if host := name(f.Host, f.Port); !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	return strings.Join(all, " or ")
}

// reasons returns what the tries came to, each reason once.
func reasons(err error) string {
	var all []string
	add := func(err error) {
		var text string
		dialed, isNet := errors.AsType[*net.OpError](err)
		refused, isServer := errors.AsType[*pgconn.PgError](err)
		switch {
		case isServer:
			text = refused.Error()
		case isNet:
			text = dialed.Error()
		default:
			text = err.Error()
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, each := range joined.Unwrap() {
			add(each)
		}
	} else {
		add(err)
	}
	return strings.Join(all, "; ")
}

// advice says what to do about an error of connecting.
func advice(err error) string {
	switch sqlState(err) {
	case invalidPassword:
		return "; user or password in the DSN is wrong"
	case invalidAuthorization:
		return "; let the user in by the server's pg_hba.conf"
	case noSuchDatabase:
		return "; make the database, or name another one in the DSN"
	case tooManyConnections:
		return "; raise the server's max_connections, or lower pool_max_conns"
	case "":
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
			return "; is the server running there?"
		}
	}
	return ""
}
