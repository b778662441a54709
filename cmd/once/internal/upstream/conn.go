package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

// maxHead bounds a response's head, in bytes.
const maxHead = 1 << 20

// lateAnswer is how long to look for an answer after the server stopped reading the request.
const lateAnswer = time.Second

// A conn is a connection to the server, for one request at a time.
type conn struct {
	net.Conn // counted, or TLS over it
	counted  countedConn
	client   *Client
	br       *bufio.Reader
	bw       *bufio.Writer
	since    time.Time // when it was put back; guarded by the client's mutex
	used     bool      // it has served a request before
	allow    int64     // how much may still be read
	done     bool      // it was put back
	watch    watch
}

// countedConn counts what is written beneath TLS.
type countedConn struct {
	net.Conn
	written int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written += int64(n)
	return n, err
}

func newConn(client *Client, nc net.Conn) *conn {
	cn := &conn{client: client}
	cn.counted.Conn = nc
	cn.Conn = &cn.counted
	cn.br = bufio.NewReader(limited{cn})
	cn.bw = bufio.NewWriterSize(writeOnly{cn}, 4<<10)
	return cn
}

type writeOnly struct{ cn *conn }

func (w writeOnly) Write(p []byte) (int, error) { return w.cn.Conn.Write(p) }

// limited stops reading a head that has no end.
type limited struct{ cn *conn }

func (l limited) Read(p []byte) (int, error) {
	if l.cn.allow <= 0 {
		return 0, fmt.Errorf("the response's head is larger than %d bytes", maxHead)
	}
	n, err := l.cn.Conn.Read(p[:min(int64(len(p)), l.cn.allow)])
	l.cn.allow -= int64(n)
	return n, err
}

// hangUp closes the connection without a word of TLS, which might block.
func (cn *conn) hangUp() { cn.counted.Conn.Close() }

// sent reports whether a byte of the last request may have reached the server.
func (cn *conn) sent() bool { return cn.counted.written > 0 }

// exchange sends the request whole and reads the response's head. After an error the connection
// must be put back as not reusable.
func (cn *conn) exchange(ctx context.Context, r *Request) (*http.Response, error) {
	cn.counted.written, cn.allow, cn.done = 0, maxHead, false
	cn.watch = watch{ctx: ctx, deadline: time.Now().Add(r.Timeout)}
	resp, err := cn.roundTrip(r)
	if err != nil {
		cn.watch.end()
		return nil, err
	}
	if resp.Body == http.NoBody {
		cn.finish(!resp.Close)
		return resp, nil
	}
	if resp.ContentLength < 0 || resp.ContentLength > int64(cn.br.Buffered()) {
		cn.beginWatch() // there is more to wait for
	}
	resp.Body = &body{ReadCloser: resp.Body, cn: cn, reusable: !resp.Close}
	return resp, nil
}

func (cn *conn) roundTrip(r *Request) (*http.Response, error) {
	if cn.SetDeadline(cn.watch.deadline); len(r.Body) > smallBody {
		cn.beginWatch()
	}
	wrote := r.write(cn.bw, cn.client.cfg.URL)
	if wrote != nil {
		// A server may answer and hang up before it has read everything. Such an answer is
		// worth more than the error.
		cn.bw.Reset(writeOnly{cn})
		if !cn.sent() {
			return nil, wrote
		}
		cn.watch.deadline = time.Now().Add(lateAnswer)
		cn.SetDeadline(cn.watch.deadline)
	}
	resp, err := cn.readHead(r.Method)
	switch {
	case wrote != nil && err != nil:
		return nil, wrote
	case err != nil:
		return nil, err
	}
	cn.allow = math.MaxInt64
	resp.Close = resp.Close || wrote != nil
	return resp, nil
}

// head requests tell ReadResponse that no body follows.
var headRequest = &http.Request{Method: http.MethodHead}

// readHead reads past informational responses (RFC 9110 section 15.2).
func (cn *conn) readHead(method string) (*http.Response, error) {
	var asked *http.Request
	if method == http.MethodHead {
		asked = headRequest
	}
	for {
		err := cn.awaitHead()
		if err != nil {
			return nil, unexpected(err)
		}
		resp, err := http.ReadResponse(cn.br, asked)
		switch {
		case err != nil:
			return nil, unexpected(err)
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("the server switched protocols unasked")
		case resp.StatusCode >= 200:
			return resp, nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// finish puts the connection back, once. Bytes that nobody asked for make it unusable.
func (cn *conn) finish(reusable bool) {
	if cn.done {
		return
	}
	cn.done = true
	intact := cn.watch.end()
	cn.client.put(cn, reusable && intact && cn.br.Buffered() == 0)
}
