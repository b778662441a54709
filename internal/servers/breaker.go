package servers

import (
	"net"
	"sync"
	"testing"
)

// A Breaker passes TCP connections on to a server, and calls a function at the n-th message of the
// clients: before it is passed on, behind it, or when it was answered. What a driver sends in one
// go arrives as one message; so these are the moments between which a client can die. Its zero
// value is not usable.
type Breaker struct {
	Addr string // where to connect instead of to the server

	mu      sync.Mutex // guards the rest
	left    int        // messages to come
	moment  Moment
	act     func()
	waiting bool // for the answer
}

// A Moment of a message, at which a [Breaker] acts.
type Moment int

const (
	BeforeRequest Moment = iota // the server never gets it
	BehindRequest               // the server gets it, and nobody hears the answer
	BehindAnswer                // the client may have heard it
	Moments                     // how many there are
)

// NewBreaker starts a breaker in front of the address, which lets everything pass until it is
// armed. It takes no more connections when the test ends.
func NewBreaker(t testing.TB, target string) *Breaker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("servers: breaker: ", err)
	}
	t.Cleanup(func() { l.Close() })
	b := &Breaker{Addr: l.Addr().String()}
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

// Arm has act called at the n-th message from now on.
func (b *Breaker) Arm(n int, m Moment, act func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.moment, b.act = n, m, act
}

func (b *Breaker) pass(from, to net.Conn, request bool) {
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
func (b *Breaker) due(request bool) (due, dropped bool) {
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
	case BeforeRequest:
		return false, true
	case BehindRequest:
		return true, false
	}
	b.waiting = true
	return false, false
}
