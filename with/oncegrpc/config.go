package oncegrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
)

// Defaults of [Config] and [ClientConfig].
const (
	DefaultHeader      = "idempotency-key"
	DefaultMaxResponse = 1 << 20
	DefaultRetryAfter  = time.Second
)

// ReplayHeader marks a replay, in the header of a response and in the trailer of an error; its value
// is "true".
const ReplayHeader = "idempotency-replayed"

// Replayed reports whether the header of a response, or the trailer of an error, marks a replay.
func Replayed(md metadata.MD) bool { return slices.Contains(md[ReplayHeader], "true") }

// Domain is that of the google.rpc.ErrorInfo in refusals.
const Domain = rpc.Domain

// A Config says which calls are guarded and how. It is copied by [NewServer].
//
// Functions are called by many goroutines at once. They must not change the messages that they
// are given.
type Config struct {
	// Guard runs the operations. Required.
	Guard *once.Guard

	// Scope returns the principal whose call this is: a user or a tenant, by a name that stays
	// the same when they log in again. Nobody is given what was recorded for somebody else. An
	// error that is a status is sent as it is. Required, unless DangerouslyShareKeys is set.
	Scope func(context.Context) (string, error)

	// DangerouslyShareKeys puts all callers in one scope: whoever knows or guesses a key and the
	// request is given the reply that somebody else got. Defaults to false.
	DangerouslyShareKeys bool

	// Guarded says which methods are guarded, by their full name: "/acme.v1.Payments/Charge".
	// Defaults to all but those whose schema is linked in and says NO_SIDE_EFFECTS or IDEMPOTENT.
	Guarded func(method string) bool

	// Required refuses calls without a key to unary methods that are guarded. Defaults to false:
	// they pass.
	Required bool

	// Header is the name of the metadata in which clients send their key: as it is, or in quotes
	// like the header of HTTP. Defaults to [DefaultHeader].
	Header string

	// KeyFrom finds the key where clients send it otherwise; see [FromField]. Metadata are not
	// looked at then. It returns "" if there is no key. Defaults to nil: the key is in the metadata.
	KeyFrom func(ctx context.Context, req proto.Message) (string, error)

	// Fingerprint returns a digest by which a key that is used again for another request is
	// noticed. Defaults to one of method, type and the whole message.
	Fingerprint func(method string, req proto.Message) (once.Fingerprint, error)

	// Keep says what a status means. Defaults to [KeepFinal].
	Keep func(codes.Code) oncehttp.Decision

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

// KeepFinal is the default of [Config.Keep]. These codes are outcomes: OK, InvalidArgument,
// NotFound, AlreadyExists, PermissionDenied, FailedPrecondition, OutOfRange, Unimplemented,
// Unauthenticated. These say that nothing happened: ResourceExhausted, Aborted. All others leave
// it open: Canceled, Unknown, DeadlineExceeded, Internal, Unavailable, DataLoss.
//
// Unavailable is among the latter because handlers pass it on from services that they call, also
// when the connection broke after the effect had begun.
func KeepFinal(code codes.Code) oncehttp.Decision { return rpc.KeepFinal(rpc.Code(code)) }

func (cfg Config) withDefaults() Config {
	if cfg.Guarded == nil {
		cfg.Guarded = func(method string) bool { return level(method) == rpc.Unspecified }
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
	cfg.Header = strings.ToLower(cfg.Header)
	return cfg
}

// check reports everything that is wrong with cfg, whose defaults are filled in.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncegrpc: config: "+format, args...))
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

// checkHeader checks the name of metadata: see "Custom-Metadata" in gRPC over HTTP/2.
func checkHeader(name string) error {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("%q is not the name of metadata; use letters, digits and hyphens", name)
		}
	}
	if strings.HasPrefix(name, "grpc-") || strings.HasSuffix(name, "-bin") {
		return fmt.Errorf("%q is reserved; leave out grpc- and -bin", name)
	}
	return nil
}
