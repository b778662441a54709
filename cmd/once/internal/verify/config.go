package verify

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Defaults of [Config].
const (
	DefaultKeyHeader      = "Idempotency-Key"
	DefaultConcurrency    = 8
	DefaultMaxRequests    = 500
	DefaultTimeout        = 3 * time.Minute
	DefaultRequestTimeout = 15 * time.Second
	DefaultPause          = 50 * time.Millisecond
	DefaultSettle         = 10 * time.Second
)

// A Config says what to test, and how a valid request is made. It is copied by [New].
//
// Path, Body and the other paths and bodies are templates: {{n}} becomes a number and {{uuid}} a
// UUID, which are new for each operation and the same for its retries.
type Config struct {
	// Target is the base URL, which paths are appended to. Required.
	Target string

	// Method of the operation. Defaults to POST.
	Method string

	// Path of the operation. Defaults to that of Target.
	Path string

	// Body of the operation. Defaults to none.
	Body string

	// Vary is a JSON Pointer (RFC 6901) to a string or an integer in Body that is made another
	// for each operation: for bodies without placeholders. Defaults to none.
	Vary string

	// Header is sent with each request. Content-Type defaults to application/json if Body is
	// JSON.
	Header http.Header

	// OtherHeader has the credentials of somebody else. It replaces fields of Header. Defaults
	// to none: that the keys of two callers are apart is not checked.
	OtherHeader http.Header

	// OtherPath is another route that takes the same method and body. Defaults to none.
	OtherPath string

	// BadBody is a body that the operation answers with an error of the client. Defaults to none.
	BadBody string

	// LargeBody is a body that is answered with a large response. Defaults to none.
	LargeBody string

	// PutPath and PutBody make a valid PUT. Default to none.
	PutPath, PutBody string

	// EffectsPath is where the effects of the operation are counted: a path, or a URL. Defaults
	// to none: then what executions there were is concluded from the responses.
	EffectsPath string

	// EffectsPointer is a JSON Pointer to the count, or to an array which is as long as the
	// count, in what a GET of EffectsPath returns. Defaults to the whole.
	EffectsPointer string

	// KeyHeader is the name of the field. Defaults to [DefaultKeyHeader].
	KeyHeader string

	// Bare sends keys without quotes, for services that refuse them. Defaults to false.
	Bare bool

	// IgnoreHeaders may differ between the first response and the replay, in addition to those
	// that differ by their nature.
	IgnoreHeaders []string

	// Expiry is how long the service keeps outcomes. Defaults to unknown: not checked, since
	// that takes twice as long.
	Expiry time.Duration

	// KeyRequired says that the operation requires a key. Implied by Strict. Defaults to false.
	KeyRequired bool

	// Strict makes failures of warnings, and demands quotes. Defaults to false.
	Strict bool

	Concurrency    int           // Requests at once, at least 2. Defaults to [DefaultConcurrency].
	MaxRequests    int           // Defaults to [DefaultMaxRequests].
	Timeout        time.Duration // Of the whole. Defaults to [DefaultTimeout].
	RequestTimeout time.Duration // Defaults to [DefaultRequestTimeout].
	Pause          time.Duration // Before each request but those at once. Defaults to [DefaultPause].

	// Settle is how long a key may be in flight after its operation could be over. Defaults to
	// [DefaultSettle].
	Settle time.Duration

	// Progress is told which check is next. Defaults to nothing.
	Progress func(done, all int, name string)
}

func (cfg Config) withDefaults() Config {
	orString(&cfg.Method, http.MethodPost)
	orString(&cfg.KeyHeader, DefaultKeyHeader)
	cfg.KeyHeader = http.CanonicalHeaderKey(cfg.KeyHeader)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = DefaultMaxRequests
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&cfg.Timeout, DefaultTimeout}, {&cfg.RequestTimeout, DefaultRequestTimeout}, {&cfg.Pause, DefaultPause},
		{&cfg.Settle, DefaultSettle}} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	cfg.KeyRequired = cfg.KeyRequired || cfg.Strict
	cfg.Header = cfg.Header.Clone()
	if cfg.Header == nil {
		cfg.Header = http.Header{}
	}
	if cfg.Header.Get("Content-Type") == "" && looksLikeJSON(cfg.Body) {
		cfg.Header.Set("Content-Type", "application/json")
	}
	return cfg
}

func orString(s *string, or string) {
	if *s == "" {
		*s = or
	}
}

// check reports everything that is wrong with cfg.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(cfg.Target); {
	case cfg.Target == "":
		bad("target is missing; give the URL of the service")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad("target is not a URL with http or https")
	case u.User != nil:
		bad("target has credentials; send them with a header")
	case u.RawQuery != "" || u.Fragment != "":
		bad("target has a query or a fragment; a query belongs to the path")
	}
	for name, path := range map[string]string{"path": cfg.Path, "other path": cfg.OtherPath, "put path": cfg.PutPath} {
		if path != "" && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "?") {
			bad("%s does not start with a slash", name)
		}
	}
	if cfg.EffectsPath != "" && !strings.HasPrefix(cfg.EffectsPath, "/") && !isURL(cfg.EffectsPath) {
		bad("effects path is neither a URL nor starts with a slash")
	}
	if cfg.EffectsPointer != "" && cfg.EffectsPath == "" {
		bad("effects pointer is useless without an effects path")
	}
	for _, t := range []string{cfg.Path, cfg.Body, cfg.OtherPath, cfg.BadBody, cfg.LargeBody, cfg.PutPath, cfg.PutBody, cfg.EffectsPath} {
		if err := checkTemplate(t); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.Vary != "" {
		if _, err := varied(cfg.Body, cfg.Vary, 1); err != nil {
			bad("vary: %w", err)
		}
	}
	if !isToken(cfg.Method) || !isToken(cfg.KeyHeader) {
		bad("method or key header is not a word of HTTP")
	}
	if cfg.Concurrency < 2 || cfg.Concurrency > 256 {
		bad("concurrency is %d; from 2 to 256 are possible", cfg.Concurrency)
	}
	if cfg.MaxRequests < 1 || cfg.Timeout < 0 || cfg.RequestTimeout < 0 || cfg.Pause < 0 || cfg.Settle < 0 || cfg.Expiry < 0 {
		bad("limits and durations must not be negative")
	}
	if cfg.Expiry > 0 && 2*cfg.Expiry > cfg.Timeout {
		bad("expiry takes up to twice its %v to check, but the timeout is %v; raise that", cfg.Expiry, cfg.Timeout)
	}
	return errors.Join(errs...)
}

// Loopback reports whether the target is on this machine, by its name or address.
func (cfg Config) Loopback() bool {
	u, err := url.Parse(cfg.Target)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }

// isToken: RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
