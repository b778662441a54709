package oncehttp

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// Names of the problems that the middleware answers with: the fragment of the problem's type.
const (
	ProblemKeyMissing       = "key-missing"        // 400
	ProblemKeyInvalid       = "key-invalid"        // 400
	ProblemScopeRefused     = "scope-refused"      // 403: the principal is unknown
	ProblemRequestTooLarge  = "request-too-large"  // 413
	ProblemRequestBroken    = "request-incomplete" // 400
	ProblemStreamRefused    = "stream-refused"     // 400: an upgrade or event stream with a key
	ProblemFirstSentInvalid = "first-sent-invalid" // 400
	ProblemLate             = "late"               // 412: the retry came after the retention
	ProblemKeyReused        = "key-reused"         // 422: for another request
	ProblemInFlight         = "in-flight"          // 409
	ProblemInDoubt          = "in-doubt"           // 500
	ProblemResponseNotKept  = "response-not-kept"  // 410: done, but the response is gone
	ProblemResponseTooLarge = "response-too-large" // 500: and the operation was broken off
	ProblemRolledBack       = "rolled-back"        // 503: nothing happened
	ProblemOutcomeUnknown   = "outcome-unknown"    // 503: done, but not acknowledged by the store
	ProblemStoreUnavailable = "store-unavailable"  // 503: nothing was run
	ProblemStoreFull        = "store-full"         // 503: nothing was run
	ProblemUnreadable       = "record-unreadable"  // 500: the outcome is recorded, but damaged
)

// problemDocs is where problems are described if [Config.DocsURL] does not say.
const problemDocs = "https://github.com/oncehq/once/blob/main/docs/PROTOCOL.md"

// A Problem is the body of an error response, of media type application/problem+json (RFC 9457).
type Problem struct {
	Type     string `json:"type"` // ends in "#" and one of the names above
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance"` // urn:uuid, also in the log

	// Retryable says if the same request with the same key may be answered otherwise later.
	Retryable bool `json:"retryable"`

	// OriginalStatus is the status of the response that was not kept.
	OriginalStatus int `json:"originalStatus,omitempty"`
}

// Name returns the problem's name, such as [ProblemInFlight].
func (p Problem) Name() string {
	_, name, _ := strings.Cut(p.Type, "#")
	return name
}

// problem writes an error response. detail, if any, replaces what is usually said.
func (m *Middleware) problem(w http.ResponseWriter, name, detail string) (instance string) {
	return m.writeProblem(w, name, func(p *Problem) {
		if detail != "" {
			p.Detail = detail
		}
	})
}

func (m *Middleware) writeProblem(w http.ResponseWriter, name string, change func(*Problem)) string {
	kind := problemKinds[name]
	docs := m.cfg.DocsURL
	if docs == "" {
		docs = problemDocs
	}
	p := Problem{
		Type:      docs + "#" + name,
		Title:     kind.title,
		Status:    kind.status,
		Detail:    kind.detail,
		Instance:  newInstance(),
		Retryable: kind.retryable,
	}
	if status, ok := m.cfg.Statuses[name]; ok {
		p.Status = status
	}
	change(&p)
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, numbers and booleans can always be encoded
	}
	body = append(body, '\n') // for those who read it in a terminal
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if m.cfg.DocsURL != "" {
		h.Add("Link", "<"+p.Type+`>; rel="describedby"; type="text/html"`)
	}
	if kind.retryable && (kind.status == http.StatusConflict || kind.status == http.StatusServiceUnavailable) {
		h.Set("Retry-After", m.retryAfter)
	}
	expose(h, "Retry-After", "Link")
	w.WriteHeader(p.Status)
	w.Write(body)
	return p.Instance
}

// newInstance returns a random UUID (RFC 9562 section 5.4) as a URN.
func newInstance() string {
	var u [16]byte
	rand.Read(u[:]) // never fails, see crypto/rand
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	b := append(make([]byte, 0, 45), "urn:uuid:"...)
	for i, part := range [][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return string(b)
}

// expose lets scripts of other origins read these fields of a response that they may read (Fetch,
// section 3.3.4).
func expose(h http.Header, names ...string) {
	if len(h["Access-Control-Allow-Origin"]) == 0 {
		return
	}
	const list = "Access-Control-Expose-Headers"
	for _, name := range names {
		if len(h[name]) > 0 && !hasListElement(h[list], name) {
			h[list] = append(h[list][:len(h[list]):len(h[list])], name)
		}
	}
}
