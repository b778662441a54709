package onceconnect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncehq/once/internal/callkey"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/retry"
)

// A ClientConfig says how a [Client] works. It is copied by [NewClient].
type ClientConfig struct {
	// Keyed says which procedures get a key. Leave out those of services that do not know the
	// key: they would do it again. Calls that have a key already, by [WithKey] or in their header,
	// are not asked about. Defaults to all but those whose schema says NO_SIDE_EFFECTS or
	// IDEMPOTENT.
	Keyed func(connect.Spec) bool

	// Header is the name of the field in which the key is sent. Defaults to [DefaultHeader].
	Header string

	// Bare sends the key without the quotes that the standard for HTTP wants. Defaults to false.
	Bare bool

	// Field is the name of a string field of requests in which the key is sent instead:
	// "request_id" by AIP-155. If the caller has set it, that is the key; if not, it is set while
	// the call is under way. Requests without such a field have the key in their header.
	// Defaults to none.
	Field string

	// Retry bounds the tries of a call. Its Budget defaults to one for this client, of the zero
	// value: where much is lost it ends a series long before Retry.Tries does, with
	// [retry.ErrBudget]. Clients of the same service may share one;
	// &retry.Budget{Burst: math.Inf(1)} is none.
	Retry retry.Policy

	// TryTimeout is how long a try may take. It should be longer than the slowest operation
	// takes, since a retry that finds it in flight has to come again. Defaults to none.
	TryTimeout time.Duration

	// Observe is told of each try when it is over, but not of calls that pass as they are: those
	// without a key to a method that is not idempotent by its schema. Defaults to nothing.
	Observe func(ctx context.Context, spec connect.Spec, try Try)
}

// A Try is told to [ClientConfig.Observe].
type Try struct {
	Number   int   // from 1
	Err      error // nil: it succeeded
	Duration time.Duration
	Pause    time.Duration // before the next try, if Stop is nil
	Stop     error         // why there is none: retry.ErrAnswered if it would be of no use
	Keyed    bool          // it carried a key; else the method is idempotent by its schema
	Replayed bool          // the answer, be it an error, is that of an earlier call; see [Replayed]
}

// A Client makes unary calls safe to repeat, and repeats them. It is a [connect.Interceptor], and
// may be used by many goroutines and clients at once.
//
//	paymentsconnect.NewClient(http.DefaultClient, url, connect.WithInterceptors(client))
//
// Each call gets an idempotency key before the first try, and every try carries it: the one given
// by [WithKey] or in the header; inside of an operation of package once one that is derived from
// it, so that a rerun repeats the same keys; else a new UUID of version 7.
//
// Calls with a key, and of procedures that are idempotent by their schema, are tried again after
// errors of the connection and unavailable; after deadline_exceeded if it was not the context's own;
// after aborted and resource_exhausted if there is a google.rpc.RetryInfo; and after whatever a
// [Server] says is worth it. Delays of RetryInfo, Retry-After in seconds and, by gRPC,
// grpc-retry-pushback-ms (gRFC A6) are lower bounds of the pauses. When there is no further try the
// error is a [*retry.GiveUpError] which has the key and a code too.
type Client struct {
	cfg  ClientConfig
	keys callkey.Source
}

var _ connect.Interceptor = (*Client)(nil)

// NewClient returns a client, or everything that is wrong with cfg.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Keyed == nil {
		cfg.Keyed = isUnspecified
	}
	if cfg.Header == "" {
		cfg.Header = DefaultHeader
	}
	cfg.Header = textproto.CanonicalMIMEHeaderKey(cfg.Header)
	if cfg.Retry.Budget == nil {
		cfg.Retry.Budget = new(retry.Budget)
	}
	var errs []error
	if err := checkHeader(cfg.Header); err != nil {
		errs = append(errs, fmt.Errorf("onceconnect: client: Header %w", err))
	}
	if cfg.Field != "" && !protoreflect.Name(cfg.Field).IsValid() {
		errs = append(errs, fmt.Errorf("onceconnect: client: Field %q is not the name of a field", cfg.Field))
	}
	if cfg.TryTimeout < 0 {
		errs = append(errs, fmt.Errorf("onceconnect: client: TryTimeout is %v; it must not be negative", cfg.TryTimeout))
	}
	if err := cfg.Retry.Check(); err != nil {
		errs = append(errs, fmt.Errorf("onceconnect: client: Retry: %w", err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Client{cfg: cfg}, nil
}

// WrapUnary implements [connect.Interceptor].
func (c *Client) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if !req.Spec().IsClient {
			return next(ctx, req)
		}
		key, header, err := c.key(ctx, req)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("onceconnect: idempotency key: %w", err))
		}
		if key == "" && isUnspecified(req.Spec()) {
			return next(ctx, req)
		}
		if field := c.keyField(req); field != nil && header == "" && key != "" {
			defer field.set(key)()
		}
		var resp connect.AnyResponse
		call := rpc.Call{
			Key:        key,
			Policy:     c.cfg.Retry,
			TryTimeout: c.cfg.TryTimeout,
			Do: func(ctx context.Context) (err error) {
				resp, err = next(ctx, newTry(req, c.cfg.Header, header))
				return err
			},
			Judge: judge,
		}
		if c.cfg.Observe != nil {
			call.Replayed = func(err error) bool {
				if coded, ok := asError(err); ok {
					return Replayed(coded.Meta())
				}
				return err == nil && Replayed(resp.Header())
			}
			call.Observe = func(ctx context.Context, try rpc.Try) { c.cfg.Observe(ctx, req.Spec(), Try(try)) }
		}
		if err := call.Run(ctx); err != nil {
			return nil, err
		}
		return resp, nil
	}
}

// A tryRequest is the request of one try. It has a header of its own: connect writes to it before
// each try, while a try that was given up may still be reading it.
type tryRequest struct {
	connect.AnyRequest
	header http.Header
}

// newTry returns the request with that value in its header, if it is not empty.
func newTry(req connect.AnyRequest, name, value string) *tryRequest {
	header := req.Header().Clone()
	if value != "" {
		if header == nil {
			header = make(http.Header)
		}
		header[name] = []string{value}
	}
	return &tryRequest{req, header}
}

func (r *tryRequest) Header() http.Header { return r.header }

// WrapStreamingClient implements [connect.Interceptor]. It does nothing.
func (c *Client) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements [connect.Interceptor]. It does nothing.
func (c *Client) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// key returns the key of a call, "" if it has none, and how it is written in the header, "" if it is
// not to be put there.
func (c *Client) key(ctx context.Context, req connect.AnyRequest) (key, header string, err error) {
	field := c.keyField(req)
	if field != nil {
		if key := field.get(); key != "" {
			return key, "", nil
		}
	}
	if values := req.Header()[c.cfg.Header]; len(values) > 0 {
		key, err := rpc.KeyIn(values)
		return key, values[0], err
	}
	key, given := callkey.From(ctx)
	if !given || req.Spec().IdempotencyLevel == connect.IdempotencyNoSideEffects {
		if !c.cfg.Keyed(req.Spec()) {
			return "", "", nil
		}
		key = c.keys.For(ctx, "rpc "+req.Spec().Procedure)
	}
	if err := rpc.CheckKey(key); err != nil {
		return "", "", err
	}
	if field != nil {
		return key, "", nil
	}
	header, err = c.headerValue(key)
	return key, header, err
}

// A keyField is the field of a request that carries its key.
type keyField struct {
	msg protoreflect.Message
	fd  protoreflect.FieldDescriptor
}

// keyField returns the field of the request, or nil if it has none.
func (c *Client) keyField(req connect.AnyRequest) *keyField {
	msg, ok := req.Any().(proto.Message)
	if c.cfg.Field == "" || !ok {
		return nil
	}
	if fd := stringField(msg, c.cfg.Field); fd != nil {
		return &keyField{msg.ProtoReflect(), fd}
	}
	return nil
}

func (f *keyField) get() string { return f.msg.Get(f.fd).String() }

// set sets the field, and returns a function that puts back what was there. A request is encoded
// before it is sent, so that nobody reads it any more when the call returns.
func (f *keyField) set(key string) (restore func()) {
	before := f.get()
	f.msg.Set(f.fd, protoreflect.ValueOfString(key))
	return func() {
		if before == "" {
			f.msg.Clear(f.fd)
		}
	}
}

var (
	errKeyASCII = errors.New("it has other bytes than visible ASCII and spaces; use a UUID or a digest")
	errKeyBare  = errors.New("it cannot be sent without quotes; use letters, digits and hyphens")
)

func (c *Client) headerValue(key string) (string, error) {
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", errKeyASCII
		}
	}
	if !c.cfg.Bare {
		return oncehttp.FormatKey(key), nil
	}
	if same, err := oncehttp.ParseKey(key, false); err != nil || same != key {
		return "", errKeyBare
	}
	return key, nil
}

// judge reports whether another try may be answered otherwise, and after which time.
func judge(err error) (again bool, atLeast time.Duration) {
	coded, ok := asError(err)
	if !ok {
		return false, 0
	}
	hints := rpc.ParseHints(details(coded))
	again, atLeast = rpc.Again(rpc.Code(coded.Code()), hints), hints.Delay
	if !connect.IsWireError(coded) && (coded.Code() == connect.CodeUnknown || coded.Code() == connect.CodeInternal) {
		again = true // the connection broke, or something between here and the service has answered
	}
	if seconds, err := strconv.ParseUint(coded.Meta().Get("Retry-After"), 10, 31); err == nil {
		atLeast = max(atLeast, time.Duration(seconds)*time.Second)
	}
	if pushback := coded.Meta().Values("Grpc-Retry-Pushback-Ms"); len(pushback) > 0 {
		ms, err := strconv.ParseInt(pushback[0], 10, 32)
		if err != nil || ms < 0 || len(pushback) > 1 {
			return false, 0 // "do not retry", or not understood
		}
		atLeast = max(atLeast, time.Duration(ms)*time.Millisecond)
	}
	return again, atLeast
}
