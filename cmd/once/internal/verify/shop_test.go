package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"
)

const concurrency = 4

// A shop takes charges. Its flaws apart, it does so as the draft wants.
type shop struct {
	flaws
	waits     bool          // duplicates wait for the outcome, instead of being refused
	retention time.Duration // 0: for ever

	gate *gate

	mu      sync.Mutex
	effects int
	tries   int
	records map[string]*record
	cached  map[string][]byte // of GET
	last    *httptest.ResponseRecorder
}

type flaws struct {
	none, racy, globalKeys, ignoresRoute, noFingerprint, mismatch409, mismatch409InFlight, mismatchForgets bool
	stuck, conflict500, noRetryAfter, badRetryAfter, hangUpForgets, hangUpStuck, replaysOtherStatus        bool
	dropsHeaders, changesHeaders, reencodes, noMarker, noCacheControl, replaysCookie, quotesDiffer         bool
	acceptsBare, acceptsMissing, acceptsLong, acceptsTwo, acceptsMalformed, failsOnMalformed, cachesGet    bool
	noProblems, noLinks, forgetsErrors, forgetsLarge, neverExpires, expiresEarly, refusesPutRetry          bool
	othersKeyRefused, mixesKeys                                                                            bool
}

type record struct {
	fingerprint string
	done        chan struct{}
	stuck       bool
	response    *httptest.ResponseRecorder
	expires     time.Time
}

func newShop(f flaws) *shop {
	return &shop{flaws: f, records: map[string]*record{}, cached: map[string][]byte{}, gate: newGate()}
}

// ServeHTTP is the shop with its own idea of idempotency.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.gate.front(w, r, http.HandlerFunc(s.route))
}

func (s *shop) route(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Authorization") == "":
		http.Error(w, "who?", http.StatusUnauthorized)
	case r.Method == "GET" && r.URL.Path == "/effects":
		s.count(w, r)
	case r.Method == "PUT" && r.URL.Path == "/profile":
		s.put(w, r)
	case r.Method == "POST" && (r.URL.Path == "/charges" || r.URL.Path == "/refunds"):
		s.guarded(w, r)
	default:
		http.Error(w, "no", http.StatusMethodNotAllowed)
	}
}

func (s *shop) count(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := fmt.Appendf(nil, `{"charges":{"count":%d}}`, s.effects)
	if key := r.Header.Get("Idempotency-Key"); s.cachesGet && key != "" {
		if s.cached[key] == nil {
			s.cached[key] = b
		}
		b = s.cached[key]
	}
	w.Write(b)
}

func (s *shop) put(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	if s.refusesPutRetry && s.cached[key] != nil {
		http.Error(w, "used", http.StatusConflict)
		return
	}
	s.cached[key] = []byte{}
}

// operate is what the shop is for.
func (s *shop) operate(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	bad, big := bytes.Contains(body, []byte("refuse me")), bytes.Contains(body, []byte("large"))
	s.mu.Lock()
	s.tries++
	id := s.tries
	if !bad {
		s.effects++
	}
	s.mu.Unlock()
	s.gate.hold(r)
	w.Header().Set("Content-Type", "application/json")
	if bad {
		w.WriteHeader(402)
		fmt.Fprintf(w, `{"id": %d, "error": "declined"}`, id)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("%s/%d", r.URL.Path, id))
	w.Header().Set("Set-Cookie", fmt.Sprintf("seen=%d", id))
	w.WriteHeader(201)
	fmt.Fprintf(w, `{"id": %d, "ok": true`, id)
	if big {
		fmt.Fprintf(w, `, "pad": %q`, strings.Repeat("x", 30_000))
	}
	io.WriteString(w, "}")
}

var quotedKey = regexp.MustCompile(`^"[ -!#-\[\]-~]+"$`)
var bareKey = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// key returns the key of a request, or what is wrong with it.
func (s *shop) key(r *http.Request) (key, wrong string) {
	lines := r.Header["Idempotency-Key"]
	switch {
	case len(lines) == 0:
		return "", "key missing"
	case len(lines) > 1 && !s.acceptsTwo:
		return "", "two keys"
	case len(lines[0]) > 257 && !s.acceptsLong:
		return "", "key too long"
	case quotedKey.MatchString(lines[0]):
		return strings.Trim(lines[0], `"`), ""
	case bareKey.MatchString(lines[0]) && s.quotesDiffer:
		return "bare " + lines[0], ""
	case bareKey.MatchString(lines[0]) && s.acceptsBare, s.acceptsMalformed && !bareKey.MatchString(lines[0]):
		return lines[0], ""
	}
	return "", "malformed key"
}

func (s *shop) refuse(w http.ResponseWriter, status int, what string) {
	if s.noProblems {
		if !s.noLinks {
			w.Header().Set("Link", `<https://shop.example/docs>; rel="describedby"; type="text/html"`)
		}
		http.Error(w, what, status)
		return
	}
	problem := map[string]any{"title": what, "status": status}
	if !s.noLinks {
		problem["type"] = "https://shop.example/docs#" + strings.ReplaceAll(what, " ", "-")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(problem)
}

func (s *shop) guarded(w http.ResponseWriter, r *http.Request) {
	key, wrong := s.key(r)
	switch {
	case s.none, wrong == "key missing" && s.acceptsMissing:
		s.operate(w, r)
		return
	case wrong == "malformed key" && s.failsOnMalformed && strings.Contains(r.Header.Get("Idempotency-Key"), `"`):
		s.refuse(w, 500, wrong)
		return
	case wrong != "":
		s.refuse(w, 400, wrong)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	id, print := s.identify(r, key), string(body)
	if s.othersKeyRefused {
		print += r.Header.Get("Authorization")
	}
	s.mu.Lock()
	rec := s.records[id]
	if rec != nil && !rec.expires.IsZero() && time.Now().After(rec.expires) {
		rec = nil
	}
	if rec != nil {
		s.mu.Unlock()
		s.again(w, r, id, rec, print)
		return
	}
	rec = &record{fingerprint: print, done: make(chan struct{})}
	if !s.racy || checkOf(r) == "hang-up" {
		s.records[id] = rec
	}
	s.mu.Unlock()
	s.run(w, r, id, rec)
}

// identify returns what records are found by.
func (s *shop) identify(r *http.Request, key string) string {
	id := key
	if !s.globalKeys && !s.othersKeyRefused {
		id += " " + r.Header.Get("Authorization")
	}
	if !s.ignoresRoute {
		id += " " + r.URL.Path
	}
	return id
}

func (s *shop) run(w http.ResponseWriter, r *http.Request, id string, rec *record) {
	rec.response = httptest.NewRecorder()
	s.operate(rec.response, r)
	hungUp := s.gate.hasHungUp(r)
	s.mu.Lock()
	switch body := rec.response.Body.String(); {
	case hungUp && s.hangUpStuck:
		s.mu.Unlock()
		return
	case hungUp && s.hangUpForgets, s.forgetsErrors && strings.Contains(body, "declined"), s.forgetsLarge && len(body) > 10_000:
		delete(s.records, id)
	default:
		s.records[id] = rec
		if s.retention > 0 && !s.neverExpires {
			rec.expires = time.Now().Add(s.retention)
		}
		if s.expiresEarly {
			rec.expires = time.Now()
		}
	}
	s.last = rec.response
	close(rec.done)
	s.mu.Unlock()
	write(w, rec.response.Header(), rec.response.Code, rec.response.Body.Bytes())
}

// again answers a request whose key is known.
func (s *shop) again(w http.ResponseWriter, r *http.Request, id string, rec *record, print string) {
	inFlight := true
	select {
	case <-rec.done:
		inFlight = false
	default:
	}
	s.mu.Lock()
	mismatch, stuck := rec.fingerprint != print && !s.noFingerprint, rec.stuck
	rec.stuck = rec.stuck || s.stuck && inFlight && !mismatch
	if mismatch && s.mismatchForgets {
		delete(s.records, id)
	}
	s.mu.Unlock()
	switch {
	case mismatch && (s.mismatch409 || inFlight && s.mismatch409InFlight):
		s.refuse(w, 409, "key in use")
		return
	case mismatch:
		s.refuse(w, 422, "key already used")
		return
	case inFlight && s.conflict500:
		s.refuse(w, 500, "duplicate")
		return
	case inFlight && s.waits:
		<-rec.done
	case inFlight, stuck:
		if !s.noRetryAfter {
			w.Header().Set("Retry-After", map[bool]string{true: "soon", false: "0"}[s.badRetryAfter])
		}
		s.refuse(w, 409, "request outstanding")
		return
	}
	s.mu.Lock()
	response := rec.response
	if s.mixesKeys {
		response = s.last
	}
	s.mu.Unlock()
	s.replay(w, response)
}

func (s *shop) replay(w http.ResponseWriter, first *httptest.ResponseRecorder) {
	h, code := first.Header().Clone(), first.Code
	body := first.Body.Bytes()
	if !s.replaysCookie {
		h.Del("Set-Cookie")
	}
	if !s.noCacheControl {
		h.Set("Cache-Control", "no-store")
	}
	if !s.noMarker {
		h.Set("Idempotency-Replayed", "true")
	}
	if s.dropsHeaders {
		h.Del("Location")
	}
	if s.changesHeaders {
		h.Set("Content-Type", "text/plain")
	}
	if s.replaysOtherStatus && code == 201 {
		code = 200
	}
	if s.reencodes && len(body) < 1000 {
		var doc any
		json.Unmarshal(body, &doc)
		body, _ = json.Marshal(doc)
	}
	write(w, h, code, body)
}

func write(w http.ResponseWriter, h http.Header, code int, body []byte) {
	maps.Copy(w.Header(), h)
	w.WriteHeader(code)
	w.Write(body)
}
