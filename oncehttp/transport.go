package oncehttp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/textproto"
	"time"

	"github.com/oncehq/once/internal/callkey"
	"github.com/oncehq/once/retry"
)

// DefaultReplayBody is the default of [TransportConfig.ReplayBody].
const DefaultReplayBody = 1 << 20

// A TransportConfig says how a [Transport] works. It is copied by [NewTransport].
//
// Functions are called by many goroutines at once. They must not change requests and responses,
// nor read their bodies.
type TransportConfig struct {
	// Base sends each try. Defaults to [http.DefaultTransport].
	Base http.RoundTripper

	// Keyed says which requests get a key, and with it the promise of the service that sending
	// one again does no harm. Leave out those to services that do not know the key: they would
	// do it again. Requests that have a key already, by [WithKey] or in their header, are not
	// asked about. Defaults to those with POST and PATCH.
	Keyed func(*http.Request) bool

	// Header is the name of the field in which the key is sent. Defaults to [DefaultHeader].
	Header string

	// Bare sends the key without the quotes that the standard wants, for services that would
	// take them for a part of it. Defaults to false.
	Bare bool

	// Retry bounds the tries of a request. A series that the server asks to wait longer than
	// Retry.Elapsed ends. Its Budget defaults to one for this transport, of the zero value:
	// where much is lost it ends a series long before Retry.Tries does, with
	// [retry.ErrBudget]. Clients of the same service may share one;
	// &retry.Budget{Burst: math.Inf(1)} is none.
	Retry retry.Policy

	// TryTimeout is how long a try may take until the header of its response is there; after
	// that the response is taken for lost. It should be longer than the slowest operation takes,
	// since a retry that finds it in flight has to come again. Defaults to none: then only
	// errors of Base, such as its own time-outs, lead to another try.
	TryTimeout time.Duration

	// ReplayBody is the largest body, in bytes, that is held in memory so that it can be sent
	// again if the request has no GetBody. Such a body is read to its end before anything is
	// sent. A larger one is sent once. -1: none is held. Defaults to [DefaultReplayBody].
	ReplayBody int64

	// Judge says what a response, or the error instead of it, means for a request that may be
	// repeated. Defaults to [ByTable] for all.
	Judge func(*http.Response, error) Verdict

	// Observe is told of each try when it is over. Defaults to nothing.
	Observe func(context.Context, Try)
}

// A Transport is an [http.RoundTripper] that makes requests safe to repeat, and repeats them.
//
// Each request is an operation. It gets an idempotency key before it is sent for the first time,
// and every try carries that key: the one given by [WithKey] or set in the header; inside of an
// operation of package once one that is derived from it, so that a rerun repeats the same keys;
// else a new UUID of version 7, from which servers can tell how late a retry is. The derived key depends on method,
// URL and how many requests with the same ones the attempt made before; see [WithName].
//
// A request is repeated if it has a key, or if its method is idempotent (RFC 9110 section 9.2.2),
// and its body can be sent again. That happens after errors of the connection; and after 408,
// 425, 429, 500, 502, 503, 504 and 520 to 524 (which are those of a well-known proxy). 409 is repeated
// only if there is a key and nothing in the response says that the conflict is another one than "in
// flight". 400 and 422 are never repeated: the request is wrong and would stay so. A response that
// is marked as a replay is not repeated, for it will not change. The members retryable of an
// RFC 9457 problem and Stripe-Should-Retry have precedence over the table.
//
// Pauses are those of [retry.Policy], and no shorter than Retry-After says. No pause is begun
// that the context's deadline would cut short. Prefer a deadline of the request's context to
// [http.Client.Timeout], which hides the error of the transport and with it the key.
//
// When there is no further try the last response is returned, as ever with a nil error, or a
// [*retry.GiveUpError] which has the key: whoever wants to know what came of the operation goes on
// with that one.
//
// A redirect by 307 or 308 is the same operation at another place: a [http.Client] that follows
// it sends the same key there.
type Transport struct {
	cfg  TransportConfig
	keys callkey.Source
}

// NewTransport returns a transport, or everything that is wrong with cfg.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	if cfg.Base == nil {
		cfg.Base = http.DefaultTransport
	}
	if cfg.Keyed == nil {
		cfg.Keyed = func(r *http.Request) bool {
			return r.Method == http.MethodPost || r.Method == http.MethodPatch
		}
	}
	if cfg.Header == "" {
		cfg.Header = DefaultHeader
	}
	if cfg.ReplayBody == 0 {
		cfg.ReplayBody = DefaultReplayBody
	}
	if cfg.Retry.Budget == nil {
		cfg.Retry.Budget = new(retry.Budget)
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Header = textproto.CanonicalMIMEHeaderKey(cfg.Header)
	return &Transport{cfg: cfg}, nil
}

func (cfg TransportConfig) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncehttp: transport: "+format, args...))
	}
	if !isToken(cfg.Header) {
		bad("Header %q is not the name of a header; use letters, digits and hyphens", cfg.Header)
	}
	if err := cfg.Retry.Check(); err != nil {
		bad("Retry: %w", err)
	}
	if cfg.TryTimeout < 0 {
		bad("TryTimeout is %v; it must not be negative", cfg.TryTimeout)
	}
	if cfg.ReplayBody < -1 || cfg.ReplayBody > math.MaxInt32 {
		bad("ReplayBody is %d; use -1 for none, or less than 2 GiB, which are held in memory", cfg.ReplayBody)
	}
	return errors.Join(errs...)
}

// A Try is told to [TransportConfig.Observe].
type Try struct {
	Number   int            // from 1
	Request  *http.Request  // as it was sent, with the key in its header: do not log that
	Response *http.Response // nil if there was none; see also [Replayed]
	Err      error          // instead of a response
	Duration time.Duration

	// Stop is nil if another try follows after Pause. Otherwise it says why not; it is
	// [retry.ErrAnswered] if nothing more is to be had.
	Stop  error
	Pause time.Duration
}

// ErrBody is the reason of a [*retry.GiveUpError] if the request could not be repeated for its body:
// it has no GetBody and was larger than [TransportConfig.ReplayBody].
var ErrBody = errors.New("oncehttp: body cannot be sent again; set GetBody, or raise ReplayBody")

// RoundTrip sends the request and repeats it as the policy and the response allow. It does not
// change the request, and closes its body.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	key, err := t.keyFor(req)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	if key == "" && !isIdempotent(req.Method) {
		return t.cfg.Base.RoundTrip(req)
	}
	body, err := t.openBody(req)
	if err != nil {
		return nil, err
	}
	s := sending{t: t, req: req, key: key, body: body, series: t.cfg.Retry.Start()}
	s.out = req.Clone(req.Context())
	if key != "" && len(s.out.Header[t.cfg.Header]) == 0 {
		if s.out.Header == nil {
			s.out.Header = make(http.Header)
		}
		s.out.Header[t.cfg.Header] = []string{t.formatKey(key)}
	}
	s.out.Trailer = req.Trailer // whose values are set while the body is read
	return s.run(req.Context())
}

// CloseIdleConnections does so for the base; it is what [http.Client.CloseIdleConnections] calls.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.cfg.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// isIdempotent reports whether repeating a request with that method is harmless by RFC 9110
// section 9.2.2.
func isIdempotent(method string) bool {
	return isSafe(method) || method == http.MethodPut || method == http.MethodDelete
}

// isSafe reports whether a request with that method changes nothing by RFC 9110 section 9.2.1.
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
