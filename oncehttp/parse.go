package oncehttp

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A parsedMessage is a recorded response message. Its strings and the header's values are in
// memory of their own, the body is a part of the outcome and must not be changed.
type parsedMessage struct {
	status  int
	fields  []field // of the header, in the order of their names, then of the trailer
	header  int     // how many of the fields are of the header
	values  []string
	body    []byte
	chunked bool // the length of the body was not told beforehand
}

// parseMessage parses a response message. Those that this package wrote it reads at once; others,
// which an operator may have recorded, are left to net/http. fields is where to put the fields,
// and may be nil.
func parseMessage(data []byte, fields []field) (parsedMessage, bool) {
	if p, ok := parseOwn(data, fields[:0]); ok {
		return p, true
	}
	return parseForeign(data)
}

// parseOwn parses what [Middleware.message] returns: fields sorted by name, one space after the
// colon, at most one chunk.
func parseOwn(data []byte, fields []field) (p parsedMessage, ok bool) {
	const version, statusAt, lineEnd = "HTTP/1.1 ", 9, 13
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < lineEnd || string(data[:statusAt]) != version || data[12] != ' ' {
		return p, false
	}
	for _, c := range data[statusAt : lineEnd-1] {
		if !isDigit(c) {
			return p, false
		}
		p.status = p.status*10 + int(c-'0')
	}
	head := string(data[:end+2])
	p.body = data[end+4:]
	p.fields = fields
	p.values = make([]string, 0, strings.Count(head, "\n")+1) // room for the marks of a replay
	_, lines, ok := cutLine(head)
	if p.status < 100 || !ok || !p.appendFields(lines, 0) {
		return p, false
	}
	p.header = len(p.fields)
	return p, !p.chunked || p.unchunk()
}

// appendFields parses field lines, which must be in order. Those of the header start at index
// start.
func (p *parsedMessage) appendFields(lines string, start int) bool {
	for lines != "" {
		line, rest, ok := cutLine(lines)
		colon := strings.IndexByte(line, ':')
		if !ok || colon < 0 || colon+1 == len(line) || line[colon+1] != ' ' || !isToken(line[:colon]) {
			return false
		}
		name, value := line[:colon], line[colon+2:]
		lines = rest
		if name == "Transfer-Encoding" && start == 0 {
			if p.chunked || value != "chunked" {
				return false
			}
			p.chunked = true
			continue
		}
		at := len(p.values)
		p.values = append(p.values, value)
		last := len(p.fields) - 1
		switch {
		case last < start || p.fields[last].name < name:
			p.fields = append(p.fields, field{name, at, at + 1})
		case p.fields[last].name == name:
			p.fields[last].hi++
		default:
			return false
		}
	}
	return true
}

// cutLine returns the first line of s. It must end with CRLF and have no part of one before that.
func cutLine(s string) (line, rest string, ok bool) {
	end := strings.IndexByte(s, '\n')
	if end < 1 || strings.IndexByte(s[:end], '\r') != end-1 {
		return "", "", false
	}
	return s[:end-1], s[end+1:], true
}

// unchunk takes the body out of its chunk, and parses the trailers.
func (p *parsedMessage) unchunk() bool {
	rest := p.body
	p.body = nil
	size, digits := 0, 0
	for digits < len(rest) && digits < 8 && hexDigit(rest[digits]) >= 0 {
		size = size<<4 | int(hexDigit(rest[digits]))
		digits++
	}
	if digits == 0 || !bytes.HasPrefix(rest[digits:], []byte(crlf)) {
		return false
	}
	rest = rest[digits+2:]
	if size > 0 {
		if size > len(rest) || !bytes.HasPrefix(rest[size:], []byte("\r\n0\r\n")) {
			return false
		}
		p.body, rest = rest[:size], rest[size+5:]
	}
	trailers, ok := bytes.CutSuffix(rest, []byte(crlf))
	return ok && p.appendFields(string(trailers), p.header)
}

// parseForeign parses a response message that somebody else wrote.
func parseForeign(data []byte) (p parsedMessage, ok bool) {
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
	if err != nil || res.StatusCode < 100 || res.StatusCode > 999 {
		return p, false
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return p, false
	}
	for _, name := range append(neverReplayed(), res.Header["Connection"]...) {
		res.Header.Del(name)
	}
	p = parsedMessage{status: res.StatusCode, body: body, chunked: len(res.Trailer) > 0}
	p.appendHeader(res.Header)
	p.header = len(p.fields)
	p.appendHeader(res.Trailer)
	return p, true
}

func (p *parsedMessage) appendHeader(h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lo := len(p.values)
		p.values = append(p.values, h[name]...)
		p.fields = append(p.fields, field{name, lo, len(p.values)})
	}
}
