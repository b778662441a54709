package oncehttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/oncehq/once/internal/callkey"
)

// WithKey returns a context under which a request carries this key: 1 to 255 bytes of visible
// ASCII and spaces. It is for one operation; other requests need other keys. Safe methods, such as GET
// after a redirect by 303, carry none.
//
// Keep the key where a crash does not reach it, before the request is sent, and the operation can
// be gone on with afterwards. [Journal] does that.
func WithKey(ctx context.Context, key string) context.Context { return callkey.With(ctx, key) }

// WithName returns a context for requests made inside of an operation of package once. The keys
// that are derived from the operation then depend on this name instead of method and URL. It is
// needed where requests of one attempt are made by several goroutines, so that their order
// differs from attempt to attempt, and where the URL does. Like a step's it must be unique within the
// operation; several requests under one name are told apart by their order.
func WithName(ctx context.Context, name string) context.Context { return callkey.Named(ctx, name) }

var (
	errKeyASCII = errors.New("oncehttp: transport: the key has bytes other than visible ASCII and spaces; use a UUID or a digest")
	errKeyBare  = errors.New("oncehttp: transport: the key cannot be sent without quotes; use letters, digits and hyphens")
)

// keyFor returns the key of the request, or "" if it has none.
func (t *Transport) keyFor(req *http.Request) (string, error) {
	if len(req.Header[t.cfg.Header]) > 0 {
		key, err := headerKey(req.Header, []string{t.cfg.Header}, false)
		if err != nil {
			return "", fmt.Errorf("oncehttp: transport: %w", err)
		}
		return key, nil
	}
	if key, given := callkey.From(req.Context()); given && !isSafe(req.Method) {
		return key, t.checkGivenKey(key)
	}
	if key := t.redirectedKey(req); key != "" {
		return key, nil
	}
	if !t.cfg.Keyed(req) {
		return "", nil
	}
	return t.keys.For(req.Context(), callName(req)), nil
}

func (t *Transport) checkGivenKey(key string) error {
	if err := checkKey(key); err != nil {
		return fmt.Errorf("oncehttp: transport: %w", err)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return errKeyASCII
		}
	}
	if bare, ok := parseBareKey(key); t.cfg.Bare && (!ok || bare != key) {
		return errKeyBare
	}
	return nil
}

// redirectedKey returns the key of the request which the server redirected with a status that
// keeps method and body (RFC 9110 sections 15.4.8 and 15.4.9).
func (t *Transport) redirectedKey(req *http.Request) string {
	by := req.Response
	if by == nil || by.StatusCode != http.StatusTemporaryRedirect && by.StatusCode != http.StatusPermanentRedirect {
		return ""
	}
	return t.SentKey(by)
}

// SentKey returns the key that the request of this response carried, or "". The response must
// come from this transport.
func (t *Transport) SentKey(res *http.Response) string {
	if res == nil || res.Request == nil {
		return ""
	}
	key, err := headerKey(res.Request.Header, []string{t.cfg.Header}, false)
	if err != nil {
		return ""
	}
	return key
}

func (t *Transport) formatKey(key string) string {
	if t.cfg.Bare {
		return key
	}
	return FormatKey(key)
}

// FormatKey returns the value of an Idempotency-Key field: the key as a Structured Field String
// (RFC 9651 section 4.1.6), which it is if it has visible ASCII and spaces alone.
func FormatKey(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}

// ParseKey returns the key in the value of an Idempotency-Key field: a Structured Field String,
// or, unless strict, the same without quotes. Other protocols than HTTP may carry keys in this
// form too.
func ParseKey(field string, strict bool) (string, error) { return parseKey(field, strict) }

// callName says what is called, without credentials.
func callName(req *http.Request) string {
	u := *req.URL
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return "http " + req.Method + " " + u.String()
}
