package oncepg_test

import (
	"net"
	"sync"
	"testing"
)

// A breaker passes TCP connections on to a server, and calls a function at the n-th message of the
// clients: before it is passed on, behind it, or when it was answered. What pgx sends in one go
// arrives as one message; so these are the moments between which a client can die.
type breaker struct {
	addr string

	mu      sync.Mutex
	left    int // messages to come
	moment  moment
	act     func()
	waiting bool // for the answer
}

type moment int

const (
	beforeRequest moment = iota // the server never gets it
	behindRequest               // the server gets it, and nobody hears the answer
	behindAnswer                // the client may have heard it
	moments
)

func newBreaker(t testing.TB, target string) *breaker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	b := &breaker{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go b.pass(client, server, true)
			go b.pass(server, client, false)
		}
	}()
	return b
}

// arm has act called at the n-th message from now on.
func (b *breaker) arm(n int, m moment, act func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.moment, b.act = n, m, act
}

func (b *breaker) pass(from, to net.Conn, request bool) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			due, dropped := b.due(request)
			if dropped {
				b.act()
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			if due {
				b.act()
			}
		}
		if err != nil {
			return
		}
	}
}

// due reports whether to act once the message has been passed on, or to act and drop it.
func (b *breaker) due(request bool) (due, dropped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !request {
		due = b.waiting
		b.waiting = false
		return due, false
	}
	b.left--
	if b.left != 0 {
		return false, false
	}
	switch b.moment {
	case beforeRequest:
		return false, true
	case behindRequest:
		return true, false
	}
	b.waiting = true
	return false, false
}
