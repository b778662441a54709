package wire

import (
	"bytes"
	"strings"
)

// maxLine bounds what is kept of a line that arrives in pieces. The server's own limit on the
// header is far below; it answers 431.
const maxLine = 1 << 20

type state uint8

const (
	requestLine state = iota
	header            // a line of the header section, or the empty one that ends it
	body              // bytes of a body with a Content-Length
	chunkSize         // a line
	chunkData         // bytes
	chunkEnd          // the empty line after a chunk
	trailer           // a line of the trailer section, or the empty one that ends it
)

// A scanner follows the bytes that a client sends and finds the first at which an HTTP/1 message
// could be read in two ways. It keeps no more of them than an unfinished line.
//
// It accepts a subset of what net/http's server accepts, and so always agrees with it on where a
// request ends.
type scanner struct {
	state state
	line  []byte // what earlier calls saw of the present line
	left  uint64 // of a body or chunk
	head  head
}

// head is what the header section says about the body.
type head struct {
	http10    bool
	hasLength bool
	chunked   bool
	length    uint64
}

// scan returns the index of the offending byte, or -1. After an offence the scanner must not be
// used again.
func (s *scanner) scan(p []byte) int {
	for i := 0; i < len(p); {
		switch s.state {
		case body, chunkData:
			n := min(s.left, uint64(len(p)-i))
			i += int(n)
			if s.left -= n; s.left == 0 {
				s.endBytes()
			}
		default:
			n := bytes.IndexByte(p[i:], '\n')
			if n < 0 {
				s.line = append(s.line, p[i:]...)
				if len(s.line) > maxLine {
					return len(p) - 1
				}
				return -1
			}
			if !s.scanLine(p[i : i+n]) {
				return i + n
			}
			i += n + 1
		}
	}
	return -1
}

func (s *scanner) endBytes() {
	if s.state == chunkData {
		s.state = chunkEnd
	} else {
		s.state = requestLine
	}
}

// scanLine is given the end of a line, without its LF.
func (s *scanner) scanLine(end []byte) bool {
	line := end
	if len(s.line) > 0 {
		s.line = append(s.line, end...)
		line = s.line
	}
	// RFC 9112 section 2.2: a CR stands before the LF and nowhere else.
	last := len(line) - 1
	if bytes.IndexByte(line, '\r') != last || last < 0 || bytes.IndexByte(line, 0) >= 0 {
		return false
	}
	ok := s.lineEnds(line[:last])
	s.line = s.line[:0]
	return ok
}

func (s *scanner) lineEnds(line []byte) bool {
	switch s.state {
	case requestLine:
		return s.scanRequestLine(line)
	case header:
		if len(line) == 0 {
			s.endHead()
			return true
		}
		return s.scanField(line)
	case chunkSize:
		return s.scanChunkSize(line)
	case chunkEnd:
		s.state = chunkSize
		return len(line) == 0
	case trailer:
		if len(line) == 0 {
			s.state = requestLine
			return true
		}
		return isField(line)
	}
	return false
}

func (s *scanner) scanRequestLine(line []byte) bool {
	s.head = head{}
	s.state = header
	if bytes.HasSuffix(line, []byte(" HTTP/1.0")) {
		s.head.http10 = true
		return true
	}
	return bytes.HasSuffix(line, []byte(" HTTP/1.1"))
}

// isField reports whether the line is a field of its own, not the continuation of the one before
// (obs-fold, RFC 9112 section 5.2).
func isField(line []byte) bool {
	return line[0] != ' ' && line[0] != '\t' && bytes.IndexByte(line, ':') > 0
}

// scanField applies RFC 9112 section 6.3 more strictly than it asks for: one Content-Length, or
// one Transfer-Encoding that is chunked, or neither.
func (s *scanner) scanField(line []byte) bool {
	if !isField(line) {
		return false
	}
	colon := bytes.IndexByte(line, ':')
	name, h := line[:colon], &s.head
	switch {
	case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
		length, ok := digits(trim(line[colon+1:]), 10)
		if !ok || h.hasLength || h.chunked {
			return false
		}
		h.hasLength, h.length = true, length
	case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
		chunked := strings.EqualFold(string(trim(line[colon+1:])), "chunked")
		if !chunked || h.hasLength || h.chunked || h.http10 {
			return false
		}
		h.chunked = true
	}
	return true
}

func (s *scanner) endHead() {
	switch {
	case s.head.chunked:
		s.state = chunkSize
	case s.head.length > 0:
		s.state, s.left = body, s.head.length
	default:
		s.state = requestLine
	}
}

// scanChunkSize reads a chunk's first line (RFC 9112 section 7.1). Extensions are ignored, as
// they must be.
func (s *scanner) scanChunkSize(line []byte) bool {
	size, _, _ := bytes.Cut(line, []byte{';'})
	n, ok := digits(bytes.TrimRight(size, " \t"), 16)
	if !ok {
		return false
	}
	if s.state, s.left = chunkData, n; n == 0 {
		s.state = trailer
	}
	return true
}

func trim(value []byte) []byte { return bytes.Trim(value, " \t") }

// digits reads a number of up to 15 digits and nothing else: no sign, no space, no prefix.
func digits(text []byte, base uint64) (uint64, bool) {
	if len(text) == 0 || len(text) > 15 {
		return 0, false
	}
	var n uint64
	for _, c := range text {
		var d uint64
		switch {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case base == 16 && 'a' <= c && c <= 'f':
			d = uint64(c-'a') + 10
		case base == 16 && 'A' <= c && c <= 'F':
			d = uint64(c-'A') + 10
		default:
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}
