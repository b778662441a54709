package wire

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// spoiler is what the server gets in place of an offending byte and of everything after it.
// Wherever in a request it appears it makes it malformed: a NUL is allowed in no line, and a line
// without a colon is no field.
const spoiler = "\x00\r\nnot a field\r\n\r\n"

// preface is how a client begins HTTP/2 with prior knowledge (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A Conn is a client's connection. The server must be its only user.
type Conn struct {
	net.Conn
	stall   time.Duration // how long a write may make no progress; 0: for ever
	armed   time.Time     // when the write deadline was last set
	begun   bool
	first   []byte      // what was read to tell HTTP/1 from HTTP/2, and not handed on yet
	opaque  atomic.Bool // HTTP/2, or taken over by a handler
	scanner scanner
	refused bool
	spoil   string // what is left of the spoiler

	closed  sync.Once
	onClose func() // nil: nothing
}

// Read reads what the client sends, as long as it is not refused.
func (c *Conn) Read(p []byte) (int, error) {
	if c.refused {
		return c.readSpoiler(p)
	}
	n, err := c.read(p)
	if n == 0 || c.opaque.Load() {
		return n, err
	}
	offence := c.scanner.scan(p[:n])
	if offence < 0 {
		return n, err
	}
	c.refused, c.spoil = true, spoiler
	if offence > 0 {
		return offence, nil
	}
	return c.readSpoiler(p)
}

func (c *Conn) read(p []byte) (int, error) {
	if !c.begun {
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// begin finds out which protocol the client speaks. Nothing is handed on before that is certain:
// the server takes the first half of HTTP/2's preface for an HTTP/1 request of method PRI.
func (c *Conn) begin() error {
	for len(c.first) < len(preface) && string(c.first) == preface[:len(c.first)] {
		p := make([]byte, len(preface)-len(c.first))
		n, err := c.Conn.Read(p)
		c.first = append(c.first, p[:n]...)
		if err != nil && n == 0 {
			return err
		}
	}
	c.begun = true
	c.opaque.Store(string(c.first) == preface)
	return nil
}

func (c *Conn) readSpoiler(p []byte) (int, error) {
	if c.spoil == "" {
		return 0, io.EOF
	}
	n := copy(p, c.spoil)
	c.spoil = c.spoil[n:]
	return n, nil
}

// Write writes to the client, who must take what is written within the stall time: a client that
// reads nothing would hold a goroutine and a response for ever. An overall time limit would not
// do, since an operation may take its time.
func (c *Conn) Write(p []byte) (int, error) {
	if c.stall > 0 {
		// Setting a deadline is not free: it is moved once in a while only.
		if now := time.Now(); now.Sub(c.armed) > c.stall/8 {
			c.armed = now
			if err := c.Conn.SetWriteDeadline(now.Add(c.stall)); err != nil {
				return 0, err
			}
		}
	}
	return c.Conn.Write(p)
}

// CloseWrite lets the server say that a response has ended before it stops reading.
func (c *Conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// Close closes the connection.
func (c *Conn) Close() error {
	if c.onClose != nil {
		c.closed.Do(c.onClose)
	}
	return c.Conn.Close()
}

// StateHook is for [http.Server.ConnState]: a connection that a handler has taken over is no
// longer followed.
func StateHook(c net.Conn, state http.ConnState) {
	if wc, ok := c.(*Conn); ok && state == http.StateHijacked {
		wc.opaque.Store(true)
	}
}
