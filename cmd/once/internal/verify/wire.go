package verify

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is a connection that counts what was written to it.
type wire struct {
	net.Conn
	writes atomic.Int64
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.writes.Add(1)
	return n, err
}

func dialWire(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: conn}, nil
}

// wireOf returns the wire below a connection of HTTP/1.1, with or without TLS, else nil.
func wireOf(conn net.Conn) *wire {
	if t, ok := conn.(*tls.Conn); ok {
		if t.ConnectionState().NegotiatedProtocol == "h2" {
			return nil // it has no such buffer
		}
		conn = t.NetConn()
	}
	w, _ := conn.(*wire)
	return w
}

// departure tells when a request has left. When the transport of HTTP/1.1 says that a request has
// been written, its end is still in a buffer, and is thrown away if the request is cancelled then.
type departure struct {
	wire  atomic.Pointer[wire] // of the connection that the request was given last
	begun atomic.Pointer[begun]
	once  sync.Once
	wrote chan struct{}
}

// begun is a wire, and its count when only a buffer was left to be written.
type begun struct {
	wire   *wire // nil: there is no buffer
	writes int64
}

// mostFlush bounds the wait for the buffer, which may have been empty by chance.
const mostFlush = 5 * time.Second

func newDeparture() *departure { return &departure{wrote: make(chan struct{})} }

func (d *departure) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { d.wire.Store(wireOf(i.Conn)) },
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err != nil {
				return // the transport may try another connection
			}
			now := &begun{wire: d.wire.Load()}
			if now.wire != nil {
				now.writes = now.wire.writes.Load()
			}
			d.begun.Store(now)
			d.once.Do(func() { close(d.wrote) })
		},
	}
}

// wait returns when the request has left, or ctx is done.
func (d *departure) wait(ctx context.Context) {
	select {
	case <-d.wrote:
	case <-ctx.Done():
		return
	}
	for deadline := time.Now().Add(mostFlush); time.Now().Before(deadline); wait(ctx, time.Millisecond) {
		if b := d.begun.Load(); b.wire == nil || b.wire.writes.Load() > b.writes || ctx.Err() != nil {
			return
		}
	}
}
