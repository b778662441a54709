package oncehttp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/oncehq/once"
)

// maxScope leaves room in [once.MaxScope] for what the guard appends to the scope of steps.
const maxScope = once.MaxScope - 16

// OperationScope returns the scope of the operations that are guarded for a principal: "POST
// 8:/charges alice" for alice's at POST /charges. Different arguments give different scopes,
// whatever is in them, since the length of the route is part of it. What is too long for
// a scope is replaced by its digest.
func OperationScope(method, route, principal string) string {
	var stack [once.MaxScope]byte
	return string(appendScope(stack[:0], method, route, principal))
}

func appendScope(b []byte, method, route, principal string) []byte {
	b = append(b, method...) // a token, so that it has no space
	b = append(b, ' ')
	named := len(b)
	b = strconv.AppendInt(b, int64(len(route)), 10)
	b = append(b, ':')
	b = append(b, route...)
	b = append(b, ' ')
	b = append(b, principal...)
	if len(b) > maxScope {
		sum := sha256.Sum256(b)
		b = append(b[:min(named, maxScope/2)], "sha256:"...) // no number, so that it is no scope of the other form
		b = hex.AppendEncode(b, sum[:])
	}
	return b
}

var (
	errNoPrincipal = errors.New("the request does not say whose it is")
	errBearerScope = errors.New("credentials are no scope: they change between two tries")
)

// ScopeHeader returns a function for [Config.Scope] that takes the principal from a header, which
// must be there exactly once. Something trusted must set it after it has checked who is
// calling, such as a gateway in front, and remove what the caller sent.
//
// Authorization and Cookie are refused. A token is renewed between two tries, and the second one would
// be another operation; scope by whom the token stands for.
func ScopeHeader(name string) func(*http.Request) (string, error) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	return func(r *http.Request) (string, error) {
		switch values := r.Header[name]; {
		case name == "Authorization" || name == "Proxy-Authorization" || name == "Cookie":
			return "", errBearerScope
		case len(values) != 1 || values[0] == "" || nominates(r.Header, name):
			return "", errNoPrincipal
		default:
			return values[0], nil
		}
	}
}

// ScopeBasic is for [Config.Scope]: the principal is the user of Basic authentication (RFC 7617),
// whose password something else must have checked before.
func ScopeBasic(r *http.Request) (string, error) {
	user, _, ok := r.BasicAuth()
	if !ok || user == "" {
		return "", errNoPrincipal
	}
	return user, nil
}

// ScopeConstant returns a function for [Config.Scope] that gives every request to one principal.
// It is for a route that has but one sender, such as a webhook's provider, after something has
// checked that the request is from there: by its signature, or its certificate. Routes of several
// senders need a name for each.
func ScopeConstant(principal string) func(*http.Request) (string, error) {
	return func(*http.Request) (string, error) { return principal, nil }
}

// nominates reports whether the Connection header declares the field to be for one hop only. A
// proxy behind the one that set the field would drop it then.
func nominates(h http.Header, name string) bool { return hasListElement(h["Connection"], name) }

// hasListElement reports whether one of the comma-separated elements is this one, in any case.
func hasListElement(values []string, element string) bool {
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(e, " \t"), element) {
				return true
			}
		}
	}
	return false
}
