package oncegrpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
)

// A Server guards the methods of gRPC servers. It may be used by many goroutines at once.
//
//	grpc.NewServer(
//		grpc.ChainUnaryInterceptor(authenticate, server.Unary),
//		grpc.ChainStreamInterceptor(authenticateStream, server.Stream),
//		grpc.WaitForHandlers(true))
type Server struct{ cfg Config }

// NewServer returns a server, or everything that is wrong with cfg.
func NewServer(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Server{cfg}, nil
}

var (
	_ grpc.UnaryServerInterceptor  = (*Server)(nil).Unary
	_ grpc.StreamServerInterceptor = (*Server)(nil).Stream
)

// Unary is a [grpc.UnaryServerInterceptor]. It must come after whatever authenticates, since a
// replay is an answer.
func (s *Server) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !s.cfg.Guarded(info.FullMethod) {
		return handler(ctx, req)
	}
	msg, isProto := req.(proto.Message)
	key, err := s.key(ctx, msg)
	switch {
	case err != nil:
		return nil, toError(rpc.RefuseKey(err))
	case key == "" && s.cfg.Required:
		return nil, s.refuse(rpc.KeyMissing)
	case key == "":
		return handler(ctx, req)
	case !isProto:
		return nil, status.Errorf(codes.Internal, "request is a %T and no protobuf message, and cannot be guarded", req)
	}
	op, err := s.operation(ctx, info.FullMethod, key, msg)
	if err != nil {
		return nil, err
	}
	c := call{req: req, handler: handler, stream: recordedStream{method: info.FullMethod}}
	reply, from := op.Serve(ctx, c.run)
	switch from {
	case rpc.Ran:
		return c.answer(ctx)
	case rpc.Replayed:
		return replay(ctx, reply)
	}
	return nil, toError(reply)
}

// Stream is a [grpc.StreamServerInterceptor] which refuses streams that have a key: they could
// not be replayed, and the client relies on it.
func (s *Server) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if len(metadata.ValueFromIncomingContext(stream.Context(), s.cfg.Header)) > 0 && s.cfg.Guarded(info.FullMethod) {
		return s.refuse(rpc.StreamRefused)
	}
	return handler(srv, stream)
}

func (s *Server) refuse(reason string) error { return toError(rpc.Refuse(reason, s.cfg.RetryAfter)) }

// operation says what the call is.
func (s *Server) operation(ctx context.Context, method, key string, req proto.Message) (*rpc.Operation, error) {
	principal := ""
	if s.cfg.Scope != nil {
		var err error
		if principal, err = s.cfg.Scope(ctx); err != nil {
			if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
				return nil, err
			}
			return nil, s.refuse(rpc.ScopeRefused)
		}
		if principal == "" {
			return nil, s.refuse(rpc.ScopeRefused)
		}
	}
	fp, err := s.fingerprint(method, req)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "request has no fingerprint: %v", err)
	}
	return &rpc.Operation{
		Guard: s.cfg.Guard,
		// The same as for Connect, so that a service can be served by both, and move.
		Key:         once.Key{Scope: oncehttp.OperationScope("RPC", method, principal), ID: key},
		Fingerprint: fp,
		Keep:        func(code rpc.Code) oncehttp.Decision { return s.cfg.Keep(codes.Code(code)) },
		Retention:   s.cfg.Retention,
		MaxResponse: s.cfg.MaxResponse,
		Timeout:     s.cfg.Timeout,
		RetryAfter:  s.cfg.RetryAfter,
		Warn: func(text string, k once.Key, err error) {
			s.cfg.Logger.WarnContext(ctx, "oncegrpc: "+text, "key", k.String(), "error", err)
		},
	}, nil
}

func (s *Server) fingerprint(method string, req proto.Message) (once.Fingerprint, error) {
	if s.cfg.Fingerprint != nil {
		return s.cfg.Fingerprint(method, req)
	}
	data, err := marshal(req)
	if err != nil {
		return once.Fingerprint{}, err
	}
	name := req.ProtoReflect().Descriptor().FullName()
	return once.FingerprintOf([]byte("once rpc 1"), []byte(method), []byte(name), data), nil
}

// A call is one call with a key whose handler may be run.
type call struct {
	req     any
	handler grpc.UnaryHandler
	stream  recordedStream // of the last run
	resp    *exactMessage
	err     error
}

var errNoMessage = errors.New("oncegrpc: handler's response is no protobuf message")

// run runs the handler and returns what is to be recorded.
func (c *call) run(ctx context.Context) (*rpc.Reply, error) {
	c.stream.reset()
	c.resp = nil
	resp, err := c.handler(grpc.NewContextWithServerTransportStream(ctx, &c.stream), c.req)
	c.err = rpc.Unmark(err)
	reply := new(rpc.Reply)
	if err == nil {
		msg, ok := resp.(proto.Message)
		var data []byte
		if !ok {
			err = fmt.Errorf("%w: %T", errNoMessage, resp)
		} else if data, err = marshal(msg); err == nil {
			c.resp = exact(msg.ProtoReflect(), data)
			reply.Type, reply.Data = string(msg.ProtoReflect().Descriptor().FullName()), data
		}
		if err != nil {
			c.err = status.Error(codes.Internal, err.Error())
		}
	}
	if c.err != nil {
		setError(reply, c.err)
	}
	header, trailer := c.stream.recorded()
	reply.Fields[rpc.Header], reply.Fields[rpc.Trailer] = toFields(header), toFields(trailer)
	return reply, err
}

// answer sends what the handler came to.
func (c *call) answer(ctx context.Context) (any, error) {
	header, trailer := c.stream.recorded()
	setFields(ctx, header, trailer)
	if c.err != nil {
		return nil, c.err
	}
	return c.resp, nil
}

// replay sends what is recorded.
func replay(ctx context.Context, reply *rpc.Reply) (any, error) {
	setFields(ctx,
		fromFields(reply.Fields[rpc.Header], reply.Fields[rpc.ContextHeader]),
		fromFields(reply.Fields[rpc.Trailer], reply.Fields[rpc.ContextTrailer]))
	mark := metadata.Pairs(ReplayHeader, "true")
	if reply.Code != rpc.OK {
		grpc.SetTrailer(ctx, mark) // an error may be sent without a header, and so is its replay
		return nil, toError(reply)
	}
	grpc.SetHeader(ctx, mark)
	return recordedMessage(reply.Type, reply.Data), nil
}

// setFields sets header and trailer of the response. If the client has hung up they cannot be
// set, and nobody is left to miss them.
func setFields(ctx context.Context, header, trailer metadata.MD) {
	if len(header) > 0 {
		grpc.SetHeader(ctx, header)
	}
	if len(trailer) > 0 {
		grpc.SetTrailer(ctx, trailer)
	}
}
