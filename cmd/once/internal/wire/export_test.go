package wire

import (
	"net"
	"time"
)

// NewConn returns a connection as Accept makes it.
func NewConn(c net.Conn, stall time.Duration) *Conn { return &Conn{Conn: c, stall: stall} }

// Scan scans the stream in the given pieces and returns the index of the offence, or -1, and
// whether the stream ends between two requests.
func Scan(pieces ...[]byte) (int, bool) {
	var s scanner
	seen := 0
	for _, p := range pieces {
		if i := s.scan(p); i >= 0 {
			return seen + i, false
		}
		seen += len(p)
	}
	return -1, s.state == requestLine && len(s.line) == 0
}
