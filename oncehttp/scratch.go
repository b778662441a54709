package oncehttp

import (
	"net/http"

	"github.com/oncehq/once"
)

// maxPooled is the size up to which memory is kept for the next request, in bytes.
const maxPooled = 64 << 10

// A scratch is the memory that a request needs only until it is answered. It belongs to one
// request at a time; nothing in it may be given to a store, which keeps what it is given.
type scratch struct {
	digest  digester
	request []byte // the body of the request
	body    []byte // of the response, as far as it is recorded
	head    []byte // of the message that is recorded
	actions []action
	header  snapshot
	scope   string // the last one
}

func (m *Middleware) getScratch() *scratch { return m.scratches.Get().(*scratch) }

func (m *Middleware) putScratch(s *scratch) {
	if cap(s.request) > maxPooled || cap(s.body) > maxPooled || cap(s.digest.text) > maxPooled || cap(s.actions) > maxPooled/16 ||
		cap(s.digest.canon.spare) > maxPooled || cap(s.digest.canon.members) > maxPooled/32 {
		return
	}
	s.reset()
	m.scratches.Put(s)
}

func (s *scratch) reset() {
	s.body = s.body[:0]
	s.actions = s.actions[:0]
	s.header.reset()
}

// operationScope returns [OperationScope] without making the same string twice in a row, as there are
// many requests of one principal.
func (s *scratch) operationScope(method, route, principal string) string {
	var stack [once.MaxScope]byte
	if b := appendScope(stack[:0], method, route, principal); string(b) != s.scope {
		s.scope = string(b)
	}
	return s.scope
}

// A snapshot is a header as it was at some moment, in the order of its names. It is one, and not
// a copy of the map, since that would cost an allocation for each request.
type snapshot struct {
	fields []field
	values []string // of all fields
}

// A field is one name of a header and its values, from lo to hi.
type field struct {
	name   string
	lo, hi int
}

func (s *snapshot) reset() {
	clear(s.fields)
	clear(s.values)
	s.fields, s.values = s.fields[:0], s.values[:0]
}

func (s *snapshot) take(h http.Header) {
	s.reset()
	for name, values := range h {
		lo := len(s.values)
		s.values = append(s.values, values...)
		f := field{name, lo, len(s.values)}
		at := len(s.fields) // headers are small
		s.fields = append(s.fields, f)
		for ; at > 0 && s.fields[at-1].name > name; at-- {
			s.fields[at] = s.fields[at-1]
		}
		s.fields[at] = f
	}
}

func (s *snapshot) get(name string) (values []string, ok bool) {
	for _, f := range s.fields {
		if f.name == name {
			return s.values[f.lo:f.hi], true
		}
	}
	return nil, false
}

// is reports whether h is still what it was.
func (s *snapshot) is(h http.Header) bool {
	if len(h) != len(s.fields) {
		return false
	}
	for _, f := range s.fields {
		values, ok := h[f.name]
		if !ok || len(values) != f.hi-f.lo {
			return false
		}
		for i, v := range values {
			if s.values[f.lo+i] != v {
				return false
			}
		}
	}
	return true
}

// restore makes h what it was.
func (s *snapshot) restore(h http.Header) {
	clear(h)
	for _, f := range s.fields {
		h[f.name] = append([]string(nil), s.values[f.lo:f.hi]...)
	}
}
