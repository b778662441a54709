package oncehttp

import (
	"bytes"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// Media types of outcomes. The first is that of a response message (RFC 9112 section 10.2). The
// second is that of one whose body was left out; the operation is done.
const (
	messageType = "application/http"
	notKeptType = "application/http; body=not-kept"
)

const crlf = "\r\n"

// A response is what is recorded of a handler's answer. The body counts as the handler wrote it.
type response struct {
	status  int
	header  *snapshot
	entry   http.Header // what the header was before the handler ran; nil: empty
	body    []byte
	framing framing
	final   http.Header // what the header was when the handler returned, for its trailers
	major   int         // version of HTTP
}

// appendHead appends status line and header fields as the client sees them, but for those that
// are not replayed, and the empty line. extra are fields that net/http adds; withLength says if
// the handler's Content-Length holds.
func (m *Middleware) appendHead(b []byte, res *response, extra []extraField, withLength bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(res.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(res.status)...)
	b = append(b, crlf...)
	connection, _ := res.header.get("Connection")
	for _, f := range res.header.fields {
		for len(extra) > 0 && extra[0].name < f.name {
			b = appendField(b, extra[0].name, extra[0].value)
			extra = extra[1:]
		}
		values := res.header.values[f.lo:f.hi]
		if !m.isRecorded(f.name) || hasListElement(connection, f.name) ||
			strings.HasPrefix(f.name, http.TrailerPrefix) || !withLength && f.name == "Content-Length" {
			continue
		}
		if was, ok := res.entry[f.name]; ok && slices.Equal(was, values) {
			continue // set by something outside, which will set it again
		}
		for _, v := range values {
			b = appendField(b, f.name, v)
		}
	}
	for _, e := range extra {
		b = appendField(b, e.name, e.value)
	}
	return append(b, crlf...)
}

type extraField struct{ name, value string }

// isRecorded reports whether the field is recorded and replayed.
func (m *Middleware) isRecorded(name string) bool {
	return !m.omitted[textproto.CanonicalMIMEHeaderKey(name)] && isToken(name)
}

// appendField appends a field line. Line ends in the value become spaces, as net/http makes them.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	value = textproto.TrimString(value)
	start := len(b)
	b = append(b, value...)
	for i, c := range b[start:] {
		if c == '\r' || c == '\n' {
			b[start+i] = ' '
		}
	}
	return append(b, crlf...)
}

// message returns the response as a literal HTTP/1.1 message, in memory of its own. The body has
// a Content-Length if it had one on the wire, said or implied; else it is in one chunk, and
// trailers may follow.
func (m *Middleware) message(s *scratch, res *response) []byte {
	var stack [3]extraField
	extra := stack[:0]
	chunked, withLength := false, true
	if bodyAllowed(res.status) {
		length, implied := res.length()
		chunked, withLength = length < 0, length >= 0 && !implied
		if implied {
			extra = append(extra, extraField{"Content-Length", strconv.Itoa(length)})
		}
		if sniffed := res.sniffed(); sniffed != "" {
			extra = append(extra, extraField{"Content-Type", sniffed})
		}
		if chunked {
			extra = append(extra, extraField{"Transfer-Encoding", "chunked"})
		}
	}
	s.head = m.appendHead(s.head[:0], res, extra, withLength)
	if !chunked {
		return append(append(make([]byte, 0, len(s.head)+len(res.body)), s.head...), res.body...)
	}
	if len(res.body) > 0 {
		s.head = strconv.AppendInt(s.head, int64(len(res.body)), 16)
		s.head = append(s.head, crlf...)
	}
	tail := m.appendTrailers(nil, res)
	b := make([]byte, 0, len(s.head)+len(res.body)+len(tail)+7)
	b = append(append(b, s.head...), res.body...)
	if len(res.body) > 0 {
		b = append(b, crlf...)
	}
	b = append(b, "0\r\n"...)
	b = append(b, tail...)
	return append(b, crlf...)
}

// messageNotKept is like message without the body.
func (m *Middleware) messageNotKept(s *scratch, res *response) []byte {
	s.head = m.appendHead(s.head[:0], res, nil, false)
	return bytes.Clone(s.head)
}

// length returns the length of the body as the client is told it, or -1 if it is not told. implied:
// the handler did not say it.
func (res *response) length() (length int, implied bool) {
	if values, ok := res.header.get("Content-Length"); ok {
		if n := declaredLength(first(values)); n >= 0 {
			return int(n), false
		}
		if res.major < 2 {
			return -1, false
		}
	}
	if res.framing.early {
		return -1, false
	}
	if res.major < 2 {
		if te, _ := res.header.get("Transfer-Encoding"); first(te) != "" {
			return -1, false
		}
		if trailers, _ := res.header.get("Trailer"); len(trailers) > 0 {
			return -1, false
		}
		for _, f := range res.header.fields {
			if strings.HasPrefix(f.name, http.TrailerPrefix) {
				return -1, false
			}
		}
	} else if res.hasTrailers() {
		return -1, false // it may be told, but a message cannot have both
	}
	return len(res.body), true
}

// declaredLength returns the value of a Content-Length field, or -1.
func declaredLength(s string) int64 {
	if s == "" {
		return -1 // the usual case, and errors cost memory
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// sniffed returns the content type that net/http guesses, or "".
func (res *response) sniffed() string {
	_, typed := res.header.get("Content-Type")
	encoding, _ := res.header.get("Content-Encoding")
	transfer, _ := res.header.get("Transfer-Encoding")
	n := min(len(res.body), sniffLen)
	if res.framing.early {
		n = res.framing.sniff
	}
	if typed || first(encoding) != "" || res.major < 2 && first(transfer) != "" || n == 0 {
		return ""
	}
	return http.DetectContentType(res.body[:n])
}

// hasTrailers reports whether the handler set any trailer.
func (res *response) hasTrailers() bool {
	found := false
	res.eachTrailer(func(string, []string) { found = true })
	return found
}

func (m *Middleware) appendTrailers(b []byte, res *response) []byte {
	res.eachTrailer(func(name string, values []string) {
		if m.isRecorded(name) {
			for _, v := range values {
				b = appendField(b, name, v)
			}
		}
	})
	return b
}

// eachTrailer yields the fields that the handler announced or marked as trailers, in the order of
// their names.
func (res *response) eachTrailer(yield func(name string, values []string)) {
	announced, _ := res.header.get("Trailer")
	marked := false
	for name := range res.final {
		marked = marked || strings.HasPrefix(name, http.TrailerPrefix)
	}
	if len(announced) == 0 && !marked {
		return
	}
	trailers := make(map[string][]string)
	for _, line := range announced {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if values := res.final[name]; len(values) > 0 {
				trailers[name] = values
			}
		}
	}
	for name, values := range res.final {
		if name, marked := strings.CutPrefix(name, http.TrailerPrefix); marked {
			trailers[name] = values
		}
	}
	for _, name := range slices.Sorted(maps.Keys(trailers)) {
		yield(name, trailers[name])
	}
}

// bodyAllowed reports whether a response of that status has a body (RFC 9110 section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
