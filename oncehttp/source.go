package oncehttp

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/textproto"
)

// FromHeader returns a function for [Config.KeyFrom] that takes the key from a header as it is,
// without the syntax of Idempotency-Key: the id that a provider of webhooks gives to each event,
// such as X-GitHub-Delivery or Webhook-Id. A request without the header has no key.
func FromHeader(name string) func(*http.Request, []byte) (string, error) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	return func(r *http.Request, _ []byte) (string, error) {
		switch values := r.Header[name]; len(values) {
		case 0:
			return "", nil
		case 1:
			return values[0], checkKey(values[0])
		}
		return "", errKeyLines
	}
}

// FromJSON returns a function for [Config.KeyFrom] that takes the key from the body: the string
// or number that the JSON Pointer (RFC 6901) leads to. "/id" is the field id of the object; a
// name without a slash means the same. A request without the field has no key, one whose body is
// not JSON is refused.
//
// The sender alone decides what is in the body. Verify its signature first.
func FromJSON(pointer string) func(*http.Request, []byte) (string, error) {
	path := parsePointer(pointer)
	return func(_ *http.Request, body []byte) (string, error) {
		value, err := lookUp(body, path)
		if err != nil || value == nil {
			return "", err
		}
		var key string
		if value[0] == '"' {
			if err := json.Unmarshal(value, &key); err != nil {
				return "", errKeyJSON
			}
		} else if value[0] == '-' || isDigit(value[0]) {
			key = string(value)
		} else {
			return "", errKeyJSON
		}
		return key, checkKey(key)
	}
}

var errKeyJSON = errors.New("the body has no key where it should be: a JSON string or number")

// FromPayload returns a function for [Config.KeyFrom] that makes the key from the request itself:
// it is the digest of all that a fingerprint covers, less the fields of a JSON body that are left
// out ([Config.FingerprintOmit] says how they are named). Two requests that say the same are then
// the same operation.
//
// The window in which that holds is [Config.Retention], counted from the completion of the first
// one. It slides: there is no boundary of the clock at which a repeated request would slip
// through. A customer who means to order the same again within the window is not served, and
// one whose client retries after it is served twice; where callers can send a key, let them.
func FromPayload(omit ...string) func(*http.Request, []byte) (string, error) {
	left, err := newOmission(omit)
	return func(r *http.Request, body []byte) (string, error) {
		if err != nil {
			return "", err
		}
		fp := fingerprint(new(digester), r, body, left)
		return hex.EncodeToString(fp[:]), nil
	}
}
