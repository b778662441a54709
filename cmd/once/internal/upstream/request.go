package upstream

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Request is what is sent. Its body is in memory, so that nothing can go wrong with it once
// the first byte is out.
type Request struct {
	Method string
	Target string // path and query as they stand on the wire; "*" is allowed
	Host   string
	Header http.Header // sent but for those that belong to one connection, or to the framing
	Extra  []Field     // sent after them
	Body   []byte

	// Timeout is for the whole exchange, the response's body included. Required.
	Timeout time.Duration
}

// A Field is a line of a header.
type Field struct{ Name, Value string }

var errUnsendable = errors.New("the request has a control character where none may be")

// write sends the request, which must be sendable.
func (r *Request) write(w *bufio.Writer, base *url.URL) error {
	w.WriteString(r.Method)
	w.WriteByte(' ')
	if r.Target != "*" {
		w.WriteString(strings.TrimSuffix(base.EscapedPath(), "/"))
	}
	w.WriteString(r.Target)
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(r.Host)
	w.WriteString("\r\n")
	nominated := r.Header["Connection"]
	for name, values := range r.Header {
		if hopByHop(name) || (len(nominated) > 0 && Nominates(nominated, name)) {
			continue
		}
		for _, v := range values {
			writeField(w, name, v)
		}
	}
	for _, f := range r.Extra {
		writeField(w, f.Name, f.Value)
	}
	if len(r.Body) > 0 || bodyExpected(r.Method) {
		w.WriteString("Content-Length: ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(len(r.Body)), 10))
		w.WriteString("\r\n")
	}
	w.WriteString("\r\n")
	w.Write(r.Body)
	return w.Flush()
}

func writeField(w *bufio.Writer, name, value string) {
	w.WriteString(name)
	w.WriteString(": ")
	w.WriteString(value)
	w.WriteString("\r\n")
}

// bodyExpected reports whether a request without a body should say so (RFC 9110 section 8.6).
func bodyExpected(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// sendable is the last line of defence against a request that would be read as two. The server
// in front should have refused it.
func (r *Request) sendable() bool {
	if bad(r.Method, ' ') || bad(r.Target, ' ') || bad(r.Host, ' ') || r.Method == "" || r.Target == "" {
		return false
	}
	for name, values := range r.Header {
		if name == "" || bad(name, ' ') {
			return false
		}
		for _, v := range values {
			if bad(v, 0) {
				return false
			}
		}
	}
	for _, f := range r.Extra {
		if bad(f.Value, 0) {
			return false
		}
	}
	return true
}

// bad reports whether s has a CR, an LF or a NUL, or the given byte.
func bad(s string, also byte) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' && (c == '\r' || c == '\n' || c == 0 || c == also) {
			return true
		}
	}
	return false
}

// hopByHop reports whether the field is about the connection it came on (RFC 9110 section 7.6.1)
// or about framing, which is ours.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Content-Length", "Expect", "Host":
		return true
	}
	return false
}

// Nominates reports whether a Connection field names the given one as hop-by-hop.
func Nominates(connection []string, name string) bool {
	for _, line := range connection {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(option), name) {
				return true
			}
		}
	}
	return false
}
