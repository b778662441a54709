package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"time"
)

const (
	// unwatched is how long the first byte of a response may take before the context is watched.
	// To watch it costs more than all the rest of a quick exchange.
	unwatched = 50 * time.Millisecond

	// smallBody is what a socket takes at once, so that to write it needs no watch.
	smallBody = 2 << 10
)

// A watch breaks an exchange whose context is done.
type watch struct {
	ctx      context.Context
	deadline time.Time
	stop     func() bool // nil: the context is not watched yet
}

// beginWatch watches the context from now on, and gives the exchange all of its time.
func (cn *conn) beginWatch() {
	w := &cn.watch
	if w.stop != nil {
		return
	}
	cn.SetDeadline(w.deadline)
	w.stop = context.AfterFunc(w.ctx, func() { cn.SetDeadline(time.Unix(1, 0)) })
}

// end reports whether the connection is as it was. If the context is just breaking it, its
// deadline is in the past for good.
func (w *watch) end() bool {
	stop := w.stop
	w.ctx, w.stop = nil, nil
	return stop == nil || stop()
}

// awaitHead waits until the head of the response is there, so that it can be read without
// waiting, or the watch has begun.
func (cn *conn) awaitHead() error {
	if cn.watch.stop != nil {
		return nil
	}
	if soon := time.Now().Add(unwatched); soon.Before(cn.watch.deadline) {
		cn.SetReadDeadline(soon)
	}
	_, err := cn.br.Peek(1)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		cn.beginWatch()
		return nil
	}
	if err != nil {
		return err
	}
	if head, _ := cn.br.Peek(cn.br.Buffered()); !bytes.Contains(head, []byte("\r\n\r\n")) {
		cn.beginWatch()
	}
	return nil
}

// body is a response's. At its end the connection is free for the next request.
//
// BUG: a body that has neither a length nor chunks ends with the connection, and then nobody can
// tell the end from a server that died (RFC 9112 section 8).
type body struct {
	io.ReadCloser
	cn       *conn // nil at the end
	reusable bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

// Close breaks the connection if the body was not read to its end.
func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(whole bool) {
	if b.cn != nil {
		b.cn.finish(whole && b.reusable)
		b.cn = nil
	}
}
