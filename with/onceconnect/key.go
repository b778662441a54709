package onceconnect

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncehq/once/internal/callkey"
	"github.com/oncehq/once/internal/rpc"
)

// key returns the key of a call to a handler, or "" if it has none.
func (s *Server) key(ctx context.Context, req connect.AnyRequest, msg proto.Message) (string, error) {
	if s.cfg.KeyFrom == nil {
		return rpc.KeyIn(req.Header()[s.cfg.Header])
	}
	if msg == nil {
		return "", nil
	}
	key, err := s.cfg.KeyFrom(ctx, msg)
	if err == nil && key != "" {
		err = rpc.CheckKey(key)
	}
	return key, err
}

// FromField returns a function for [Config.KeyFrom] that takes the key from a string field of the
// request: "request_id" by AIP-155. A message without that field, or in which it is empty, has
// no key.
func FromField(name string) func(context.Context, proto.Message) (string, error) {
	return func(_ context.Context, req proto.Message) (string, error) {
		if f := stringField(req, name); f != nil {
			return req.ProtoReflect().Get(f).String(), nil
		}
		return "", nil
	}
}

// stringField returns the field of that name, or nil if there is none that holds one string.
func stringField(msg proto.Message, name string) protoreflect.FieldDescriptor {
	f := msg.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
	if f == nil || f.Kind() != protoreflect.StringKind || f.Cardinality() == protoreflect.Repeated {
		return nil
	}
	return f
}

// WithKey returns a context under which a call carries this key. It is for one operation; other
// calls need other keys.
func WithKey(ctx context.Context, key string) context.Context { return callkey.With(ctx, key) }

// WithName returns a context for calls made inside of an operation of package once. The keys that
// are derived from the operation then depend on this name instead of the procedure. It is needed
// where calls of one attempt are made by several goroutines, so that their order differs from
// attempt to attempt. It must be unique within the operation.
func WithName(ctx context.Context, name string) context.Context { return callkey.Named(ctx, name) }
