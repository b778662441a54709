package oncehttp

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// A Middleware guards HTTP handlers. It may be used by many goroutines at once, and wrap any
// number of handlers.
type Middleware struct {
	cfg        Config
	left       *omission
	omitted    map[string]bool // fields that are not recorded
	retryAfter string
	binds      bool // the store may run operations in a transaction, which Complete commits

	scratches sync.Pool // of *scratch
	copies    sync.Pool // of *[copySize]byte
}

// New returns a middleware, or everything that is wrong with cfg.
func New(cfg Config) (*Middleware, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Middleware{cfg: cfg, omitted: make(map[string]bool)}
	m.left, _ = newOmission(cfg.FingerprintOmit)
	for _, name := range slices.Concat(neverReplayed(), canonicalNames(cfg.ReplayOmit)) {
		m.omitted[name] = true
	}
	m.retryAfter = strconv.FormatInt(int64((cfg.RetryAfter+time.Second-1)/time.Second), 10)
	_, m.binds = cfg.Guard.Store().(once.Binder)
	m.scratches.New = func() any { return new(scratch) }
	m.copies.New = func() any { return new([copySize]byte) }
	return m, nil
}

// Wrap returns a handler that guards next: of the requests with one key, it lets one through, and
// gives the others the same response. It must be inside of whatever authenticates, since a replay
// is an answer, and of whatever compresses or signs responses for one client.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
}

func (m *Middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !slices.Contains(m.cfg.Methods, r.Method) {
		if isUpgrade(r) && !m.cfg.PassUpgrades && m.hasKeyHeader(r) {
			m.refuse(w, r, ProblemStreamRefused, once.Key{}, nil)
			return
		}
		next.ServeHTTP(w, r)
		return
	}
	if m.cfg.KeyFrom == nil && !m.cfg.Required && !m.hasKeyHeader(r) {
		next.ServeHTTP(w, r)
		return
	}
	x := &exchange{m: m, w: w, r: r, next: next, scratch: m.getScratch()}
	defer func() {
		m.putScratch(x.scratch)
		x.scratch = nil
	}()
	if !x.identify() {
		return
	}
	if x.key.ID == "" {
		x.pass()
		return
	}
	if !x.describe() {
		return
	}
	x.guard()
}

func (m *Middleware) hasKeyHeader(r *http.Request) bool {
	for _, name := range m.cfg.Headers {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}

// identify finds the request's key and reads its body, if it may have one. It reports false if it
// has answered the request.
func (x *exchange) identify() bool {
	m, r := x.m, x.r
	var err error
	if m.cfg.KeyFrom == nil {
		if x.key.ID, err = headerKey(r.Header, m.cfg.Headers, m.cfg.Strict); err != nil {
			return x.refuse(ProblemKeyInvalid, err)
		}
		if x.key.ID == "" {
			return !m.cfg.Required || x.refuse(ProblemKeyMissing, nil)
		}
	}
	if isUpgrade(r) || wantsEvents(r) {
		x.key.ID = ""
		return m.cfg.PassUpgrades || x.refuse(ProblemStreamRefused, nil)
	}
	if x.body, err = readBody(x.scratch.request[:0], r, m.cfg.MaxRequestBody); err != nil {
		if errors.Is(err, errTooLarge) {
			return x.refuse(ProblemRequestTooLarge, nil)
		}
		return x.refuse(ProblemRequestBroken, nil)
	}
	if x.body != nil {
		x.scratch.request = x.body
	}
	if m.cfg.KeyFrom != nil {
		if x.key.ID, err = m.cfg.KeyFrom(r, x.body); err == nil && x.key.ID != "" {
			err = checkKey(x.key.ID)
		}
		if err != nil {
			return x.refuse(ProblemKeyInvalid, err)
		}
		if x.key.ID == "" {
			return !m.cfg.Required || x.refuse(ProblemKeyMissing, nil)
		}
	}
	return true
}

// describe finds out whose request it is and what it asks for. It reports false if it has answered
// the request.
func (x *exchange) describe() bool {
	m, r := x.m, x.r
	var principal string
	if m.cfg.Scope != nil {
		var err error
		if principal, err = m.cfg.Scope(r); err != nil || principal == "" {
			return x.refuse(ProblemScopeRefused, nil)
		}
	}
	x.key.Scope = x.scratch.operationScope(r.Method, m.cfg.Route(r), principal)
	if m.cfg.Fingerprint == nil {
		x.fp = fingerprint(&x.scratch.digest, r, x.body, m.left)
	} else {
		var err error
		if x.fp, err = m.cfg.Fingerprint(r, x.body); err != nil {
			return x.refuse(ProblemKeyInvalid, errFingerprint)
		}
	}
	if m.cfg.RefuseLate {
		late, err := m.late(r, x.key.ID, time.Now())
		if err != nil {
			return x.refuse(ProblemFirstSentInvalid, nil)
		}
		return !late || x.answerLate()
	}
	return true
}

var errFingerprint = errors.New("the request has not what it takes to be told from others")

// answerLate answers a request that must not be run any more: with the record, if that has
// survived. It reports false, since it has answered.
func (x *exchange) answerLate() bool {
	rec, err := x.m.cfg.Guard.Store().Load(x.r.Context(), x.key)
	switch {
	case err != nil && !errors.Is(err, once.ErrNotFound):
		return x.refuse(problemOf(err), err)
	case err == nil && !rec.Fingerprint.Matches(x.fp):
		return x.refuse(ProblemKeyReused, nil)
	case err == nil && rec.State == once.Done:
		x.replay(rec.Outcome)
		return false
	}
	return x.refuse(ProblemLate, nil)
}

// refuse answers with a problem and returns false. Only an error that is meant for the client
// is told to it.
func (x *exchange) refuse(name string, err error) bool {
	x.m.refuse(x.w, x.r, name, x.key, err)
	return false
}

func (m *Middleware) refuse(w http.ResponseWriter, r *http.Request, name string, k once.Key, err error) {
	detail := ""
	if name == ProblemKeyInvalid && err != nil {
		detail = keyDetail(err)
	}
	instance := m.problem(w, name, detail)
	level := slog.LevelDebug
	switch name {
	case ProblemInDoubt, ProblemOutcomeUnknown, ProblemStoreUnavailable, ProblemStoreFull,
		ProblemUnreadable, ProblemResponseTooLarge:
		level = slog.LevelError
	}
	ctx := r.Context()
	if !m.cfg.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("problem", name), slog.String("instance", instance), slog.String("method", r.Method),
	}
	if k.ID != "" && k.Scope != "" {
		attrs = append(attrs, slog.String("key", k.String())) // a digest
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	m.cfg.Logger.LogAttrs(ctx, level, "oncehttp: request refused", attrs...)
}

// keyDetail returns what the client may be told: not what the functions of the configuration say.
func keyDetail(err error) string {
	for _, known := range []error{
		errKeyLines, errKeyEmpty, errKeyLong, errKeySyntax, errKeyJSON, errFingerprint,
	} {
		if errors.Is(err, known) {
			return "It cannot be used: " + known.Error() + "."
		}
	}
	return ""
}

// problemOf returns the name of the problem that an error of the guard or the store is.
func problemOf(err error) string {
	switch {
	case errors.Is(err, once.ErrMismatch):
		return ProblemKeyReused
	case errors.Is(err, once.ErrInFlight):
		return ProblemInFlight
	case errors.Is(err, once.ErrInDoubt):
		return ProblemInDoubt
	case errors.Is(err, once.ErrFull):
		return ProblemStoreFull
	case errors.Is(err, once.ErrUnreadable):
		return ProblemUnreadable
	}
	return ProblemStoreUnavailable
}
