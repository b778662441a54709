package oncehttp

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"time"

	"github.com/oncehq/once"
)

// Defaults of [Config].
const (
	DefaultHeader          = "Idempotency-Key"
	DefaultReplayHeader    = "Idempotency-Replayed"
	DefaultMaxRequestBody  = 1 << 20
	DefaultMaxResponseBody = 1 << 20
	DefaultRetryAfter      = time.Second
	DefaultClockTolerance  = 5 * time.Minute
)

// A Config says which requests are guarded and how. It is copied by [New].
//
// Functions are called by many goroutines at once. They may read the request but not change it,
// and must neither change nor keep a body that they are given.
type Config struct {
	// Guard runs the operations. How long a request waits for another one with the same key is
	// its Wait, and who takes over after a crash its Lease. Required.
	Guard *once.Guard

	// Scope returns the principal whose request this is: a user or a tenant, by a name that
	// stays the same when they log in again. Nobody is given what was recorded for somebody
	// else. A request with a key is refused if Scope returns an error or nothing; so
	// authentication must come before. It is not for credentials: a bearer token changes
	// between two tries. See [ScopeHeader], [ScopeBasic] and, for the one sender of a webhook,
	// [ScopeConstant]. Required, unless DangerouslyShareKeys is set.
	Scope func(*http.Request) (string, error)

	// DangerouslyShareKeys puts all callers in one scope, without anybody having checked who they
	// are: whoever knows or guesses a key and the request is given the response that somebody
	// else got. For trying things out. Defaults to false.
	DangerouslyShareKeys bool

	// Route returns a name for what is requested; with the method it is part of the scope. It
	// must stay the same from one release to the next, which the pattern of a mux may not.
	// Defaults to the path of the URL, as it was sent.
	Route func(*http.Request) string

	// Methods are the methods that are guarded. Others pass, with or without a key. PUT and
	// DELETE may be added: they are idempotent anyway (RFC 9110 section 9.2.2), but a retry is
	// then given the first response. Defaults to POST and PATCH.
	Methods []string

	// Required refuses requests without a key. Defaults to false: they pass unguarded.
	Required bool

	// Headers are the names of the field in which clients send their key; all but one must be
	// absent from a request. Defaults to [DefaultHeader].
	Headers []string

	// Strict refuses a key without quotes, as the standard would have it. Defaults to false:
	// it is the same key as with quotes.
	Strict bool

	// KeyFrom finds a key where no client sends one; see [FromHeader], [FromJSON], and
	// [FromPayload]. Headers are not looked at then. It returns "" if there is no key, and an
	// error if the request is to be refused. A key has at most 255 bytes.
	// Defaults to nil: the key is in the header.
	KeyFrom func(r *http.Request, body []byte) (string, error)

	// Fingerprint returns a digest by which a key that is used again for another request is
	// noticed. It should cover all that the handler looks at. Defaults to one of method, path,
	// query, content type and encoding, and body.
	Fingerprint func(r *http.Request, body []byte) (once.Fingerprint, error)

	// FingerprintOmit are JSON Pointers (RFC 6901) to what differs from one try to the next and
	// does not count, such as "/meta/sent_at". Only for JSON, and the default fingerprint.
	FingerprintOmit []string

	// MaxRequestBody is the largest body of a request with a key, in bytes; it is read whole
	// before anything else happens. Defaults to [DefaultMaxRequestBody].
	MaxRequestBody int64

	// MaxResponseBody is the largest body that is recorded, in bytes. A larger one is sent to
	// the first caller alone, while the handler writes; later ones are told that the operation
	// is done (410). If the store may run operations in a transaction ([once.Binder]), which is
	// not over before the handler is, then a response of up to 16 times this size is held back
	// until then, and one that is still larger breaks the operation off (500).
	// Defaults to [DefaultMaxResponseBody].
	MaxResponseBody int64

	// Keep says what a response means, by its status. The handler can overrule it: see
	// [Final], [NoEffect] and [InDoubt]. Defaults to [KeepFinal].
	Keep func(status int) Decision

	// Retention is how long a response is replayed, counted from the end of the handler. It must
	// be longer than clients go on retrying. Defaults to that of the guard.
	Retention time.Duration

	// RetentionFor returns a retention for a response of that status, or zero for Retention.
	// Defaults to nil.
	RetentionFor func(r *http.Request, status int) time.Duration

	// RefuseLate refuses requests (412) which were first sent so long ago that their record may
	// be gone, instead of running them again. When that was is told by the field
	// Repeatability-First-Sent, or by a key that is a UUID of version 7 or a ULID; requests that
	// do not tell are not refused. Defaults to false.
	RefuseLate bool

	// ClockTolerance is by how much the clock of a client may be wrong, for RefuseLate. It must
	// be less than Retention. Defaults to [DefaultClockTolerance].
	ClockTolerance time.Duration

	// Statuses replaces the status of problems, by their names: {ProblemKeyReused: 400}.
	Statuses map[string]int

	// DocsURL is where problems are described for the users of this API, each below an anchor
	// that is its name. It becomes their type and a Link with rel="describedby". Defaults to
	// the documentation of this package, and no Link.
	DocsURL string

	// RetryAfter is when a client should come back if the operation is in flight or the store
	// is down. Sent in whole seconds. Defaults to [DefaultRetryAfter].
	RetryAfter time.Duration

	// ReplayHeader is the field that marks a replay; its value is "true".
	// Defaults to [DefaultReplayHeader].
	ReplayHeader string

	// ReplayOmit are names of fields that are neither recorded nor replayed, in addition to
	// Date and those for one hop. Defaults to those in the documentation of this package; an
	// empty list that is not nil replaces them by none.
	ReplayOmit []string

	// PassUpgrades lets requests for an upgrade or an event stream pass unguarded, although they
	// have a key. Defaults to false: they are refused.
	PassUpgrades bool

	// DangerouslyRunOnStoreError runs requests unguarded while the store does not answer or is
	// full, and sends a response that could not be recorded. Then an effect may happen
	// more than once. Defaults to false: they are refused (503).
	DangerouslyRunOnStoreError bool

	// Logger is told of what needs somebody's attention. It is never told a key. Defaults to
	// [slog.Default].
	Logger *slog.Logger
}

// replayOmit are the fields that are not recorded unless [Config.ReplayOmit] says otherwise. They
// are for one moment or one connection; the documentation of this package lists them.
func replayOmit() []string {
	return []string{
		"Alt-Svc", "Authentication-Info", "Clear-Site-Data", "Proxy-Authenticate",
		"Proxy-Authentication-Info", "Set-Cookie", "Www-Authenticate",
	}
}

// neverReplayed are the fields that are not recorded in any case. Those of hops are in RFC 9110
// section 7.6.1.
func neverReplayed() []string {
	return []string{"Connection", "Date", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"}
}

func (cfg Config) withDefaults() Config {
	if cfg.Route == nil {
		cfg.Route = func(r *http.Request) string { return r.URL.EscapedPath() }
	}
	if len(cfg.Methods) == 0 {
		cfg.Methods = []string{http.MethodPost, http.MethodPatch}
	}
	if len(cfg.Headers) == 0 {
		cfg.Headers = []string{DefaultHeader}
	}
	if cfg.MaxRequestBody == 0 {
		cfg.MaxRequestBody = DefaultMaxRequestBody
	}
	if cfg.MaxResponseBody == 0 {
		cfg.MaxResponseBody = DefaultMaxResponseBody
	}
	if cfg.Keep == nil {
		cfg.Keep = KeepFinal
	}
	if cfg.Retention == 0 && cfg.Guard != nil {
		cfg.Retention = cfg.Guard.Config().Retention
	}
	if cfg.ClockTolerance == 0 {
		cfg.ClockTolerance = DefaultClockTolerance
	}
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = DefaultRetryAfter
	}
	if cfg.ReplayHeader == "" {
		cfg.ReplayHeader = DefaultReplayHeader
	}
	if cfg.ReplayOmit == nil {
		cfg.ReplayOmit = replayOmit()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Methods = slices.Clone(cfg.Methods)
	cfg.Headers = canonicalNames(cfg.Headers)
	cfg.ReplayHeader = textproto.CanonicalMIMEHeaderKey(cfg.ReplayHeader)
	return cfg
}

func canonicalNames(names []string) []string {
	var canonical []string
	for _, n := range names {
		canonical = append(canonical, textproto.CanonicalMIMEHeaderKey(n))
	}
	return canonical
}

// check reports everything that is wrong with cfg, whose defaults are filled in.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncehttp: config: "+format, args...))
	}
	if cfg.Guard == nil {
		bad("Guard is missing; make one with once.New")
	}
	if cfg.Scope == nil && !cfg.DangerouslyShareKeys {
		bad("Scope is missing; say whose request it is, " +
			"or set DangerouslyShareKeys to give everybody the same keys")
	}
	if cfg.Scope != nil && cfg.DangerouslyShareKeys {
		bad("Scope and DangerouslyShareKeys exclude each other; leave out one")
	}
	for _, method := range cfg.Methods {
		switch {
		case method == http.MethodGet, method == http.MethodHead, method == http.MethodOptions,
			method == http.MethodTrace:
			bad("method %s is safe and needs no guard; leave it out", method)
		case method == http.MethodConnect || !isToken(method):
			bad("method %q cannot be guarded; use methods such as POST", method)
		}
	}
	for _, name := range slices.Concat(cfg.Headers, cfg.ReplayOmit, []string{cfg.ReplayHeader}) {
		if !isToken(name) {
			bad("%q is not the name of a header; use letters, digits and hyphens", name)
		}
	}
	if cfg.Fingerprint != nil && len(cfg.FingerprintOmit) > 0 {
		bad("FingerprintOmit is for the default fingerprint; leave it or Fingerprint out")
	}
	if _, err := newOmission(cfg.FingerprintOmit); err != nil {
		bad("FingerprintOmit: %w", err)
	}
	cfg.checkNumbers(bad)
	for name, status := range cfg.Statuses {
		if _, known := problemKinds[name]; !known {
			bad("Statuses has %q, which is no problem; use the constants Problem…", name)
		}
		if status < 400 || status > 599 {
			bad("Statuses has %d for %s; use an error, 400 to 599", status, name)
		}
	}
	if u, err := url.Parse(cfg.DocsURL); err != nil || u.Fragment != "" {
		bad("DocsURL is not a URL without a fragment; the problem's name becomes the fragment")
	}
	return errors.Join(errs...)
}

func (cfg Config) checkNumbers(bad func(format string, args ...any)) {
	for _, n := range []struct {
		name  string
		value int64
	}{{"MaxRequestBody", cfg.MaxRequestBody}, {"MaxResponseBody", cfg.MaxResponseBody}} {
		if n.value < 0 {
			bad("%s is %d; it must be positive", n.name, n.value)
		}
		if n.value > math.MaxInt32 {
			bad("%s is %d; it is held in memory and must be less than 2 GiB", n.name, n.value)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Retention", cfg.Retention},
		{"ClockTolerance", cfg.ClockTolerance},
		{"RetryAfter", cfg.RetryAfter},
	} {
		if d.value < 0 {
			bad("%s is %v; it must be positive", d.name, d.value)
		}
	}
	if cfg.RefuseLate && cfg.Guard != nil && cfg.ClockTolerance >= cfg.Retention {
		bad("RefuseLate would refuse everything: ClockTolerance is %v and Retention %v; lengthen the latter",
			cfg.ClockTolerance, cfg.Retention)
	}
}
