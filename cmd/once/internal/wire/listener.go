package wire

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// A Listener hands out connections that refuse ambiguous requests. Its fields must not change
// after first use.
type Listener struct {
	net.Listener

	// TLS is spoken to clients, with "h2" and "http/1.1" as its protocols. Defaults to plain
	// TCP.
	//
	// The server must be told to serve unencrypted HTTP/2: it sees the decrypted bytes, and
	// recognises HTTP/2 by its preface.
	TLS *tls.Config

	// Stall is how long a client may leave a write without progress. Defaults to for ever.
	Stall time.Duration

	// Max is how many connections there may be at once; more wait to be accepted. Defaults to
	// any number.
	Max int

	once   sync.Once
	slots  chan struct{}
	ended  chan struct{}
	ending sync.Once
}

func (l *Listener) init() {
	l.once.Do(func() {
		l.ended = make(chan struct{})
		if l.Max > 0 {
			l.slots = make(chan struct{}, l.Max)
		}
	})
}

// Accept waits for the next connection. The TLS handshake is left to its first Read, and so to
// the goroutine that serves it and the deadline that it sets.
func (l *Listener) Accept() (net.Conn, error) {
	l.init()
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
		case <-l.ended:
			return nil, net.ErrClosed
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.free()
		return nil, err
	}
	if l.TLS != nil {
		c = tls.Server(c, l.TLS)
	}
	return &Conn{Conn: c, stall: l.Stall, onClose: l.free}, nil
}

func (l *Listener) free() {
	if l.slots != nil {
		<-l.slots
	}
}

// Close stops accepting.
func (l *Listener) Close() error {
	l.init()
	l.ending.Do(func() { close(l.ended) })
	return l.Listener.Close()
}
