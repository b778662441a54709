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

// A problemKind is what all problems of a name have in common.
type problemKind struct {
	status    int
	retryable bool
	title     string
	detail    string
}

// kindOf returns what is known of a problem.
func kindOf(name string) (kind problemKind, known bool) {
	switch name {
	case ProblemKeyMissing:
		return problemKind{400, false, "Idempotency-Key is missing", "This operation requires a key; send a unique one, and the same one with every retry."}, true
	case ProblemKeyInvalid:
		return problemKind{400, false, "Idempotency-Key is not valid", ""}, true
	case ProblemScopeRefused:
		return problemKind{403, false, "The caller is unknown", "A key can be used only by a caller who is known."}, true
	case ProblemRequestTooLarge:
		return problemKind{413, false, "The request is too large", "The body of a request with a key must be smaller. Nothing was done."}, true
	case ProblemRequestBroken:
		return problemKind{400, true, "The request is incomplete", "The body could not be read to its end. Nothing was done."}, true
	case ProblemStreamRefused:
		return problemKind{400, false, "The response could not be replayed", "A request for an upgrade or an event stream cannot have a key. Nothing was done."}, true
	case ProblemFirstSentInvalid:
		return problemKind{400, false, "The time of the first try is not valid", "It must be a date and not lie in the future."}, true
	case ProblemLate:
		return problemKind{412, false, "The retry comes too late", "The first try was so long ago that nobody can tell any more if it succeeded. Nothing was done now."}, true
	case ProblemKeyReused:
		return problemKind{422, false, "Idempotency-Key is already used", "The key was sent before with a different request. Use a new key for a new request."}, true
	case ProblemInFlight:
		return problemKind{409, true, "A request is outstanding for this Idempotency-Key", "Try again later with the same key to be given its outcome."}, true
	case ProblemInDoubt:
		return problemKind{500, false, "The outcome is in doubt", "An earlier try broke off, and it is not known if it took effect. It is not repeated until somebody has found out."}, true
	case ProblemResponseNotKept:
		return problemKind{410, false, "The response was not kept", "The operation was done before, and is not repeated. Its response was too large or too sensitive to be kept."}, true
	case ProblemResponseTooLarge:
		return problemKind{500, false, "The response is too large to be recorded", "The operation was broken off."}, true
	case ProblemRolledBack:
		return problemKind{503, true, "The operation was rolled back", "Nothing was done. Try again with the same key."}, true
	case ProblemOutcomeUnknown:
		return problemKind{503, true, "The outcome is unknown", "The operation was run, but its outcome could not be recorded. Try again with the same key; it is not repeated unless that is safe."}, true
	case ProblemStoreUnavailable:
		return problemKind{503, true, "Operations cannot be recorded now", "Nothing was done. Try again later with the same key."}, true
	case ProblemStoreFull:
		return problemKind{503, true, "No more operations can be recorded now", "Nothing was done. Try again later with the same key."}, true
	case ProblemUnreadable:
		return problemKind{500, false, "The record is unreadable", "The operation was requested before, but the record of it cannot be read. It is not repeated."}, true
	}
	return problemKind{}, false
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
	kind, _ := kindOf(name)
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
