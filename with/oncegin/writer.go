package oncegin

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"
)

// unwritten is the size of a response that was not begun, as in gin.
const unwritten = -1

// A writer is the gin.ResponseWriter that handlers are given. It does what gin's own does, above
// a writer that holds everything back: a status counts when the body begins.
type writer struct {
	http.ResponseWriter
	status int
	size   int

	mu     sync.Mutex // guards the rest
	gone   chan bool  // nil: nobody has asked
	failed bool
}

var _ gin.ResponseWriter = (*writer)(nil)

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) Status() int   { return w.status }
func (w *writer) Size() int     { return w.size }
func (w *writer) Written() bool { return w.size != unwritten }

func (w *writer) WriteHeader(status int) {
	if status > 0 && !w.Written() {
		w.status = status
	}
}

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.size = 0
		w.ResponseWriter.WriteHeader(w.status)
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeaderNow()
	return w.wrote(w.ResponseWriter.Write(p))
}

func (w *writer) WriteString(s string) (int, error) {
	w.WriteHeaderNow()
	return w.wrote(io.WriteString(w.ResponseWriter, s))
}

func (w *writer) wrote(n int, err error) (int, error) {
	w.size += n
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.gone != nil && !w.failed {
			close(w.gone)
		}
		w.failed = true
	}
	return n, err
}

// Flush lets the response begin. What is held back stays so.
func (w *writer) Flush() {
	w.WriteHeaderNow()
	http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack fails: a response that is recorded cannot be taken over.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// CloseNotify returns a channel that is closed when a write has failed, for c.Stream.
func (w *writer) CloseNotify() <-chan bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone == nil {
		w.gone = make(chan bool)
		if w.failed {
			close(w.gone)
		}
	}
	return w.gone
}

// Pusher returns nil: what is pushed is no part of the outcome.
func (w *writer) Pusher() http.Pusher { return nil }

// A client is the router's writer as package oncehttp expects it: without gin's delay of the status,
// by which changes of the header between status and body would be sent.
type client struct{ gin.ResponseWriter }

func (w *client) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *client) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	w.ResponseWriter.WriteHeader(status)
	w.WriteHeaderNow()
}

// inform sends an informational response. Gin would take it for the response.
func (w *client) inform(status int) {
	if u, ok := w.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok {
		u.Unwrap().WriteHeader(status)
	}
}
