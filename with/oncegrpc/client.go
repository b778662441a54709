package oncegrpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncehq/once/internal/callkey"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/retry"
)

// A ClientConfig says how a [Client] works. It is copied by [NewClient].
type ClientConfig struct {
	// Keyed says which methods get a key, by their full name: "/acme.v1.Payments/Charge". Leave out
	// those of services that do not know the key: they would do it again. Calls that have a key
	// already, by [WithKey] or in their metadata, are not asked about. Defaults to all but those
	// whose schema is linked in and says NO_SIDE_EFFECTS or IDEMPOTENT.
	Keyed func(method string) bool

	// Header is the name of the metadata in which the key is sent. Defaults to [DefaultHeader].
	Header string

	// Field is the name of a string field of requests in which the key is sent instead:
	// "request_id" by AIP-155. If the caller has set it, that is the key. Requests without such a
	// field have the key in their metadata. Defaults to none.
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
	Observe func(ctx context.Context, method string, try Try)
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

// A Client makes unary calls safe to repeat, and repeats them. It may be used by many goroutines
// and connections at once.
//
//	grpc.NewClient(target, grpc.WithChainUnaryInterceptor(client.Unary))
//
// Each call gets an idempotency key before the first try, and every try carries it: the one given
// by [WithKey] or in the metadata; inside of an operation of package once one that is derived from
// it, so that a rerun repeats the same keys; else a new UUID of version 7.
//
// Calls with a key, and of methods that are idempotent by their schema, are tried again after
// Unavailable; after DeadlineExceeded if it was not the context's own; after Aborted and
// ResourceExhausted if there is a google.rpc.RetryInfo; and after whatever a [Server] says is
// worth it. Delays of RetryInfo and grpc-retry-pushback-ms (gRFC A6) are lower bounds of the
// pauses. When there is no further try the error is a [*retry.GiveUpError] which has the key and
// is a status too.
//
// Retries by a service config would multiply with these; leave them out.
type Client struct {
	cfg  ClientConfig
	keys callkey.Source
}

// NewClient returns a client, or everything that is wrong with cfg.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Keyed == nil {
		cfg.Keyed = func(method string) bool { return level(method) == rpc.Unspecified }
	}
	if cfg.Header == "" {
		cfg.Header = DefaultHeader
	}
	cfg.Header = strings.ToLower(cfg.Header)
	if cfg.Retry.Budget == nil {
		cfg.Retry.Budget = new(retry.Budget)
	}
	var errs []error
	if err := checkHeader(cfg.Header); err != nil {
		errs = append(errs, fmt.Errorf("oncegrpc: client: Header %w", err))
	}
	if cfg.Field != "" && !protoreflect.Name(cfg.Field).IsValid() {
		errs = append(errs, fmt.Errorf("oncegrpc: client: Field %q is not the name of a field", cfg.Field))
	}
	if cfg.TryTimeout < 0 {
		errs = append(errs, fmt.Errorf("oncegrpc: client: TryTimeout is %v; it must not be negative", cfg.TryTimeout))
	}
	if err := cfg.Retry.Check(); err != nil {
		errs = append(errs, fmt.Errorf("oncegrpc: client: Retry: %w", err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Client{cfg: cfg}, nil
}

var _ grpc.UnaryClientInterceptor = (*Client)(nil).Unary

// Unary is a [grpc.UnaryClientInterceptor]. It does not change the request.
func (c *Client) Unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	ctx, req, key, err := c.withKey(ctx, method, req)
	if err != nil {
		return status.Error(codes.InvalidArgument, "oncegrpc: idempotency key: "+err.Error())
	}
	if key == "" && level(method) == rpc.Unspecified {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	var header, trailer metadata.MD
	opts = append(opts[:len(opts):len(opts)], grpc.Trailer(&trailer))
	call := rpc.Call{
		Key:        key,
		Policy:     c.cfg.Retry,
		TryTimeout: c.cfg.TryTimeout,
		Do: func(ctx context.Context) error {
			header, trailer = nil, nil
			return invoke(ctx, method, req, reply, cc, opts...)
		},
		Judge: func(err error) (bool, time.Duration) { return judge(err, trailer) },
	}
	if c.cfg.Observe != nil {
		opts = append(opts, grpc.Header(&header))
		call.Replayed = func(error) bool { return Replayed(header) || Replayed(trailer) }
		call.Observe = func(ctx context.Context, try rpc.Try) { c.cfg.Observe(ctx, method, Try(try)) }
	}
	return call.Run(ctx)
}

// withKey puts the key into the metadata or the request, and returns it; "" if there is none.
func (c *Client) withKey(ctx context.Context, method string, req any) (context.Context, any, string, error) {
	msg, _ := req.(proto.Message)
	var field protoreflect.FieldDescriptor
	if c.cfg.Field != "" && msg != nil {
		field = stringField(msg, c.cfg.Field)
	}
	if field != nil {
		if key := msg.ProtoReflect().Get(field).String(); key != "" {
			return ctx, req, key, nil
		}
	}
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md[c.cfg.Header]) > 0 {
		key, err := rpc.KeyIn(md[c.cfg.Header])
		return ctx, req, key, err
	}
	key, given := callkey.From(ctx)
	if !given || level(method) == rpc.NoSideEffects {
		if !c.cfg.Keyed(method) {
			return ctx, req, "", nil
		}
		key = c.keys.For(ctx, "rpc "+method)
	}
	if err := rpc.CheckKey(key); err != nil {
		return ctx, req, "", err
	}
	if field != nil {
		msg = proto.Clone(msg)
		msg.ProtoReflect().Set(field, protoreflect.ValueOfString(key))
		return ctx, msg, key, nil
	}
	value, err := metadataValue(key)
	return metadata.AppendToOutgoingContext(ctx, c.cfg.Header, value), req, key, err
}

var errKeyASCII = errors.New("it has other bytes than visible ASCII and spaces; use a UUID or a digest")

// metadataValue returns the key as it is, or in quotes if it would be read otherwise.
func metadataValue(key string) (string, error) {
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", errKeyASCII
		}
	}
	if same, err := oncehttp.ParseKey(key, false); err == nil && same == key {
		return key, nil
	}
	return oncehttp.FormatKey(key), nil
}

// judge reports whether another try may be answered otherwise, and after which time.
func judge(err error, trailer metadata.MD) (again bool, atLeast time.Duration) {
	st := status.Convert(err)
	hints := rpc.ParseHints(details(st.Proto()))
	again, atLeast = rpc.Again(rpc.Code(st.Code()), hints), hints.Delay
	if pushback := trailer["grpc-retry-pushback-ms"]; len(pushback) > 0 {
		ms, err := strconv.ParseInt(pushback[0], 10, 32)
		if err != nil || ms < 0 || len(pushback) > 1 {
			return false, 0 // "do not retry", or not understood
		}
		atLeast = max(atLeast, time.Duration(ms)*time.Millisecond)
	}
	return again, atLeast
}
