package onceconnect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
)

// Defaults of [Config] and [ClientConfig].
const (
	DefaultHeader      = oncehttp.DefaultHeader
	DefaultMaxResponse = 1 << 20
	DefaultRetryAfter  = time.Second
)

// ReplayHeader marks a replay, in the header of a response and in the metadata of an error; its
// value is "true".
const ReplayHeader = oncehttp.DefaultReplayHeader

// Replayed reports whether the header of a response, or the metadata of an error, marks a replay.
func Replayed(h http.Header) bool { return h.Get(ReplayHeader) == "true" }

// Domain is that of the google.rpc.ErrorInfo in refusals.
const Domain = rpc.Domain

// A Config says which calls are guarded and how. It is copied by [NewServer].
//
// Functions are called by many goroutines at once. They must not change the requests that they
// are given.
type Config struct {
	// Guard runs the operations. Required.
	Guard *once.Guard

	// Scope returns the principal whose call this is: a user or a tenant, by a name that stays
	// the same when they log in again. Nobody is given what was recorded for somebody else. An
	// error that is a [*connect.Error] is sent as it is. Required, unless DangerouslyShareKeys is
	// set.
	Scope func(context.Context, connect.AnyRequest) (string, error)

	// DangerouslyShareKeys puts all callers in one scope: whoever knows or guesses a key and the
	// request is given the reply that somebody else got. Defaults to false.
	DangerouslyShareKeys bool

	// Guarded says which procedures are guarded. Defaults to all but those whose schema says
	// NO_SIDE_EFFECTS or IDEMPOTENT.
	Guarded func(connect.Spec) bool

	// Required refuses calls without a key to unary procedures that are guarded. Defaults to
	// false: they pass.
	Required bool

	// Header is the name of the field in which clients send their key: in quotes, as over HTTP, or
	// as it is. Defaults to [DefaultHeader].
	Header string

	// KeyFrom finds the key where clients send it otherwise; see [FromField]. The header is not
	// looked at then. It returns "" if there is no key. Defaults to nil: the key is in the header.
	KeyFrom func(ctx context.Context, req proto.Message) (string, error)

	// Fingerprint returns a digest by which a key that is used again for another request is
	// noticed. Defaults to one of procedure, type and the whole message.
	Fingerprint func(procedure string, req proto.Message) (once.Fingerprint, error)

	// Keep says what a code means; zero is that of a success. Defaults to [KeepFinal].
	Keep func(connect.Code) oncehttp.Decision

	// Retention is how long a reply is replayed. Defaults to that of the guard.
	Retention time.Duration

	// MaxResponse is the largest reply that is recorded, in bytes. A larger one is sent to the
	// first caller, and later ones are told that the operation is done. Defaults to
	// [DefaultMaxResponse].
	MaxResponse int

	// Timeout is how long a handler may run. The deadline of the client is not that of the
	// handler. Defaults to none.
	Timeout time.Duration

	// RetryAfter is when a client should come back if the operation is in flight or the store is
	// down. Defaults to [DefaultRetryAfter].
	RetryAfter time.Duration

	// Logger is told of what needs somebody's attention. It is never told a key. Defaults to
	// [slog.Default].
	Logger *slog.Logger
}

// KeepFinal is the default of [Config.Keep]. These codes are outcomes: success, invalid_argument,
// not_found, already_exists, permission_denied, failed_precondition, out_of_range, unimplemented,
// unauthenticated. These say that nothing happened: resource_exhausted, aborted. All others leave
// it open: canceled, unknown, deadline_exceeded, internal, unavailable, data_loss.
//
// Unavailable is among the latter because handlers pass it on from services that they call, also
// when the connection broke after the effect had begun.
func KeepFinal(code connect.Code) oncehttp.Decision { return rpc.KeepFinal(rpc.Code(code)) }

func (cfg Config) withDefaults() Config {
	if cfg.Guarded == nil {
		cfg.Guarded = isUnspecified
	}
	if cfg.Header == "" {
		cfg.Header = DefaultHeader
	}
	if cfg.Keep == nil {
		cfg.Keep = KeepFinal
	}
	if cfg.Retention == 0 && cfg.Guard != nil {
		cfg.Retention = cfg.Guard.Config().Retention
	}
	if cfg.MaxResponse == 0 {
		cfg.MaxResponse = DefaultMaxResponse
	}
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = DefaultRetryAfter
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Header = textproto.CanonicalMIMEHeaderKey(cfg.Header)
	return cfg
}

func isUnspecified(spec connect.Spec) bool {
	return spec.IdempotencyLevel == connect.IdempotencyUnknown
}

// check reports everything that is wrong with cfg, whose defaults are filled in.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceconnect: config: "+format, args...))
	}
	if cfg.Guard == nil {
		bad("Guard is missing; make one with once.New")
	}
	if cfg.Scope == nil && !cfg.DangerouslyShareKeys {
		bad("Scope is missing; say whose call it is, or set DangerouslyShareKeys to give everybody the same keys")
	}
	if cfg.Scope != nil && cfg.DangerouslyShareKeys {
		bad("Scope and DangerouslyShareKeys exclude each other; leave out one")
	}
	if err := checkHeader(cfg.Header); err != nil {
		bad("Header %w", err)
	}
	if cfg.MaxResponse < 0 || cfg.MaxResponse > math.MaxInt32 {
		bad("MaxResponse is %d; it must be positive and less than 2 GiB", cfg.MaxResponse)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Retention", cfg.Retention}, {"Timeout", cfg.Timeout}, {"RetryAfter", cfg.RetryAfter}} {
		if d.value < 0 {
			bad("%s is %v; it must be positive", d.name, d.value)
		}
	}
	return errors.Join(errs...)
}

// checkHeader checks the name of a header that all protocols can carry as text.
func checkHeader(name string) error {
	for i := range len(name) {
		c := name[i] | 0x20
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return fmt.Errorf("%q is not the name of a header; use letters, digits and hyphens", name)
		}
	}
	for _, prefix := range []string{"Grpc-", "Connect-", "Trailer-"} {
		if strings.HasPrefix(name, prefix) || strings.HasSuffix(name, "-Bin") {
			return fmt.Errorf("%q is reserved; leave out Grpc-, Connect-, Trailer- and -Bin", name)
		}
	}
	return nil
}
