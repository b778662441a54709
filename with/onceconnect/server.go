package onceconnect

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
)

// A Server guards the procedures of handlers. It is a [connect.Interceptor], and may be used by
// many goroutines and handlers at once.
//
//	paymentsconnect.NewHandler(service, connect.WithInterceptors(authenticate, server))
//
// It must come after whatever authenticates, since a replay is an answer.
type Server struct{ cfg Config }

var _ connect.Interceptor = (*Server)(nil)

// NewServer returns a server, or everything that is wrong with cfg.
func NewServer(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Server{cfg}, nil
}

// WrapUnary implements [connect.Interceptor].
func (s *Server) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if req.Spec().IsClient || !s.cfg.Guarded(req.Spec()) {
			return next(ctx, req)
		}
		return s.unary(ctx, req, next)
	}
}

func (s *Server) unary(ctx context.Context, req connect.AnyRequest, next connect.UnaryFunc) (connect.AnyResponse, error) {
	msg, isProto := req.Any().(proto.Message)
	key, err := s.key(ctx, req, msg)
	switch {
	case err != nil:
		return nil, refused(rpc.RefuseKey(err))
	case key == "" && s.cfg.Required:
		return nil, s.refuse(rpc.KeyMissing)
	case key == "":
		return next(ctx, req)
	case !isProto:
		return nil, connect.NewError(connect.CodeInternal, errNoMessage)
	}
	op, err := s.operation(ctx, req, key, msg)
	if err != nil {
		return nil, err
	}
	c := call{req: req, next: next, meta: responseMeta(ctx)}
	reply, from := op.Serve(ctx, c.run)
	switch from {
	case rpc.Ran:
		return c.answer()
	case rpc.Replayed:
		return replay(c.meta, req.Spec(), reply)
	}
	return nil, refused(reply)
}

// WrapStreamingHandler implements [connect.Interceptor]. Streams that have a key are refused: they
// could not be replayed, and the client relies on it.
func (s *Server) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if len(conn.RequestHeader()[s.cfg.Header]) > 0 && s.cfg.Guarded(conn.Spec()) {
			return s.refuse(rpc.StreamRefused)
		}
		return next(ctx, conn)
	}
}

// WrapStreamingClient implements [connect.Interceptor]. It does nothing.
func (s *Server) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (s *Server) refuse(reason string) error { return refused(rpc.Refuse(reason, s.cfg.RetryAfter)) }

// operation says what the call is.
func (s *Server) operation(ctx context.Context, req connect.AnyRequest, key string, msg proto.Message) (*rpc.Operation, error) {
	principal := ""
	if s.cfg.Scope != nil {
		var err error
		if principal, err = s.cfg.Scope(ctx, req); err != nil {
			if _, coded := asError(err); coded {
				return nil, err
			}
			return nil, s.refuse(rpc.ScopeRefused)
		}
		if principal == "" {
			return nil, s.refuse(rpc.ScopeRefused)
		}
	}
	procedure := req.Spec().Procedure
	fp, err := s.fingerprint(procedure, msg)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return &rpc.Operation{
		Guard: s.cfg.Guard,
		// The same as for grpc-go, so that a service can be served by both, and move.
		Key:         once.Key{Scope: oncehttp.OperationScope("RPC", procedure, principal), ID: key},
		Fingerprint: fp,
		Keep:        func(code rpc.Code) oncehttp.Decision { return s.cfg.Keep(connect.Code(code)) },
		Retention:   s.cfg.Retention,
		MaxResponse: s.cfg.MaxResponse,
		Timeout:     s.cfg.Timeout,
		RetryAfter:  s.cfg.RetryAfter,
		Warn: func(text string, k once.Key, err error) {
			s.cfg.Logger.WarnContext(ctx, "onceconnect: "+text, "key", k.String(), "error", err)
		},
	}, nil
}

func (s *Server) fingerprint(procedure string, req proto.Message) (once.Fingerprint, error) {
	if s.cfg.Fingerprint != nil {
		return s.cfg.Fingerprint(procedure, req)
	}
	data, err := marshal(req)
	if err != nil {
		return once.Fingerprint{}, err
	}
	name := req.ProtoReflect().Descriptor().FullName()
	return once.FingerprintOf([]byte("once rpc 1"), []byte(procedure), []byte(name), data), nil
}
