package gateway

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/oncehq/once/oncehttp"
)

// Names of the problems that the gateway answers with, in addition to those of oncehttp.
const (
	problemRequest     = "request-refused"      // 400: could be understood in several ways
	problemCaller      = "scope-refused"        // 400 or 401: whose request it is cannot be told
	problemUnreachable = "upstream-unreachable" // 503: the service never saw the request
	problemBroken      = "upstream-broken"      // 502: it may have, and did not answer
	problemTimeout     = "upstream-timeout"     // 504: it may have, and did not answer in time
)

const problemDocs = "https://github.com/oncehq/once/blob/main/docs/OPERATIONS.md#"

// writeProblem answers with a problem (RFC 9457) and returns its instance, for the log.
func writeProblem(w http.ResponseWriter, name string, status int, title, detail string) string {
	p := oncehttp.Problem{
		Type:      problemDocs + name,
		Title:     title,
		Status:    status,
		Detail:    detail,
		Instance:  "urn:uuid:" + newUUID(),
		Retryable: status >= 500,
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, numbers and booleans can always be encoded
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	w.Write(body)
	return p.Instance
}

// newUUID returns a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails, see crypto/rand
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
