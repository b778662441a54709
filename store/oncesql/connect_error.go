package oncesql

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// A connectError says first that there is no connection, and to which server.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.err }

func noConnection(err error) bool {
	_, ok := errors.AsType[*connectError](err)
	return ok
}

// connecting returns the error of whoever is the first to ask the server for something. The
// server's own errors come from logging in, as far as they are known here.
func (e *mysqlEngine) connecting(err error) error {
	_, network := errors.AsType[*net.OpError](err)
	way := ""
	switch mysqlNumber(err) {
	case 0:
		if !network {
			return err
		}
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
			way = "; is the server running there?"
		}
	case mysqlAccessDenied:
		way = "; user or password in the DSN is wrong"
	case mysqlDatabaseDenied:
		way = "; grant the user the right to use the database"
	case mysqlNoSuchDatabase:
		way = "; make the database, or name another one in the DSN"
	case mysqlTooManyConnections:
		way = "; raise the server's max_connections, or lower MaxConns"
	default:
		return err
	}
	return &connectError{fmt.Sprintf("oncesql: cannot connect to %s: %v%s", e.config.Addr, err, way), err}
}
