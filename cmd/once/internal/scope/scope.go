// Package scope says whose operation a request is.
//
// A scope must be something that only its owner can put into a request, since whoever is in the
// same scope and knows a key is given the stored response. A response is replayed without asking
// the service, which would have refused a caller that it does not know; so a scope covers all by
// which the caller proves who they are.
package scope

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// A Spec says where a request's scope is found.
type Spec struct {
	Kind string // "header", "basic", "jwt" or "shared"
	Name string // of the header field or the claim; else empty
}

// Parse reads header:NAME, basic, jwt:CLAIM or shared.
func Parse(s string) (Spec, error) {
	kind, name, hasName := strings.Cut(s, ":")
	switch kind {
	case "header":
		if !isToken(name) {
			return Spec{}, errors.New("has no name of a header field; write for example header:X-Tenant")
		}
		return Spec{kind, http.CanonicalHeaderKey(name)}, nil
	case "jwt":
		if name == "" {
			return Spec{}, errors.New("has no claim; write for example jwt:sub")
		}
		return Spec{kind, name}, nil
	case "basic", "shared":
		if !hasName {
			return Spec{Kind: kind}, nil
		}
	}
	return Spec{}, errors.New("must be header:NAME, basic, jwt:CLAIM or shared")
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

// String is the inverse of [Parse].
func (s Spec) String() string {
	if s.Name == "" {
		return s.Kind
	}
	return s.Kind + ":" + s.Name
}

// Field returns the name of the header field that the scope is read from, or "".
func (s Spec) Field() string {
	switch s.Kind {
	case "header":
		return s.Name
	case "basic", "jwt":
		return "Authorization"
	}
	return ""
}

// A Config says how scopes are found.
type Config struct {
	Spec   Spec         // Required.
	JWT    JWT          // Required for jwt.
	Secret []byte       // Required for basic: at least [MinSecret] bytes.
	Log    *slog.Logger // Required for jwt.
}

// JWT says which tokens are accepted.
type JWT struct {
	JWKS       string // URL or file of the key set. Required.
	Issuer     string // "any": not checked. Required.
	Audience   string // "any": not checked. Required.
	Algorithms []string
	Leeway     time.Duration
}

// Any stands for an issuer or audience that is not checked.
const Any = "any"

// An Error says why a request has no scope, and what its sender is told.
type Error struct {
	Status    int    // 400 or 401
	Challenge string // for WWW-Authenticate; empty: none
	Detail    string // for the caller
}

func (e *Error) Error() string { return "scope: " + e.Detail }

// StatusCode is the status of the response to a request without a scope.
func (e *Error) StatusCode() int { return e.Status }

// A Func returns the scope of a request, such as header:acme, of at most [MaxLen] bytes; or an
// [*Error].
type Func func(*http.Request) (string, error)

// New returns the function that finds the scope. ctx ends what it does in the background, which
// is to keep the key set up to date.
func New(ctx context.Context, cfg Config) (Func, error) {
	switch cfg.Spec.Kind {
	case "header":
		return fromHeader(cfg.Spec.Name), nil
	case "basic":
		return fromBasic(cfg.Secret)
	case "jwt":
		return fromJWT(ctx, cfg)
	case "shared":
		return func(*http.Request) (string, error) { return "shared:", nil }, nil
	}
	return nil, fmt.Errorf("scope: unknown kind %q", cfg.Spec.Kind)
}

// fromHeader takes the scope from a field that somebody in front of the gateway has set.
func fromHeader(name string) Func {
	missing := &Error{Status: http.StatusBadRequest, Detail: "the header field " + name + " is missing"}
	several := &Error{Status: http.StatusBadRequest, Detail: "the header field " + name + " is given more than once"}
	return func(r *http.Request) (string, error) {
		switch values := r.Header[name]; {
		case len(values) == 0 || (len(values) == 1 && values[0] == ""):
			return "", missing
		case len(values) > 1:
			return "", several
		default:
			return named("header", values[0]), nil
		}
	}
}

// MaxLen is the length of the longest scope.
const MaxLen = len("header:") + maxName

const (
	digestMark = "sha256:"
	maxName    = len(digestMark) + 2*sha256.Size
)

// named returns the scope of a name found in the given way: "header:acme". A name that is long or
// not plain text is replaced by its digest. No two names share a scope, since one that looks like
// a digest is digested too.
func named(kind, name string) string {
	if len(name) > maxName || strings.HasPrefix(name, digestMark) || !printable(name) {
		d := sha256.Sum256([]byte(name))
		name = digestMark + hex.EncodeToString(d[:])
	}
	return kind + ":" + name
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
