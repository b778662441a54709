package gateway

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/oncehq/once/cmd/once/internal/upstream"
)

// Header fields by which the gateway tells the service about the attempt. Copies that a client
// sends are removed.
const (
	AttemptField = "Once-Attempt"     // counts the attempts at the operation, from 1
	FenceField   = "Once-Fence"       // grows with every attempt; a resource can refuse smaller ones
	DerivedField = "Once-Derived-Key" // the same in every attempt; tells nothing of the client's key
)

const keyField = "Idempotency-Key"

// A front refuses requests that the service might understand otherwise than the gateway does. It
// is the part of that which needs no bytes; package wire does the other.
type front struct {
	// guarded are the fields that decide whose operation a request is, and which.
	guarded map[string]bool

	// aliases are names that some take for the key's, folded.
	aliases map[string]bool
}

// newFront returns a front for a gateway that reads scopes and keys from the given fields.
func newFront(fields ...string) *front {
	f := &front{
		guarded: map[string]bool{keyField: true, AttemptField: true, FenceField: true, DerivedField: true},
		aliases: map[string]bool{"idempotencykey": true, "xidempotencykey": true, "idempotentkey": true},
	}
	for _, name := range fields {
		if name != "" && name != keyField {
			f.guarded[name] = true
			delete(f.aliases, fold(name)) // it is meant
		}
	}
	return f
}

// fold maps spellings that are mistaken for each other to one: lower case without hyphens.
func fold(name string) string {
	const longest = len("x-idempotency-key") + 1
	var stack [longest]byte
	b := stack[:0]
	for i := range min(len(name), 2*longest) {
		if c := name[i]; c != '-' && c != '_' && len(b) < longest {
			b = append(b, lower(c))
		}
	}
	return string(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// check says what is wrong with a request, or "". It removes what only the gateway may say.
func (f *front) check(r *http.Request) string {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return "the method is not forwarded"
	case strings.ContainsAny(r.URL.RawQuery, " \t"): // HTTP/2 lets it through, HTTP/1 would end there
		return "the query has a space; send it as %20"
	case !isNormal(r):
		return "the path has an empty, . or .. segment; send it as it is meant"
	case len(r.Header[keyField]) > 1:
		return keyField + " is given more than once; send one field line"
	}
	// A proxy must drop the fields that Connection names. One that decides about the operation
	// would be read here and be missing behind (RFC 9110 section 7.6.1).
	if lines := r.Header["Connection"]; len(lines) > 0 && f.nominated(lines) {
		return "Connection names a field that must reach the service"
	}
	for name := range r.Header {
		if f.ambiguous(name) {
			return "a header field has a name that is mistaken for another's; spell it with hyphens"
		}
	}
	delete(r.Header, AttemptField)
	delete(r.Header, FenceField)
	delete(r.Header, DerivedField)
	return ""
}

// ambiguous reports whether a service may take the field for one that decides about the
// operation: with an underscore for a hyphen, which CGI and its descendants cannot tell apart, or
// in another spelling of the key's name.
func (f *front) ambiguous(name string) bool {
	if strings.IndexByte(name, '_') >= 0 &&
		f.guarded[textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))] {
		return true
	}
	// The first letter spares nearly every other field the rest; names are canonical.
	return (name[0] == 'I' || name[0] == 'X') && name != keyField && !f.guarded[name] && f.aliases[fold(name)]
}

func (f *front) nominated(lines []string) bool {
	for name := range f.guarded {
		if upstream.Nominates(lines, name) {
			return true
		}
	}
	for _, name := range []string{"Authorization", "Cookie", "Host", "Content-Type", "Content-Encoding", "Content-Length"} {
		if upstream.Nominates(lines, name) {
			return true
		}
	}
	return false
}

// isNormal reports whether the path has only one reading. Services resolve dot segments and merge
// slashes, or do not; a route that is matched here must be the one that they take.
func isNormal(r *http.Request) bool {
	path := r.URL.EscapedPath()
	if path == "*" {
		return r.Method == http.MethodOptions
	}
	if !strings.HasPrefix(path, "/") {
		return false
	}
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") && strings.IndexByte(path, '%') < 0 {
		return true
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "%2e", "."), "%2E", ".")
		if s == "." || s == ".." || (s == "" && i < len(segments)-1) {
			return false
		}
	}
	return true
}
