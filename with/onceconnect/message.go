package onceconnect

import (
	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/runtime/protoiface"
)

// marshal encodes a message, in an order that is the same every time for the same release.
func marshal(msg proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(msg)
}

// An exactMessage is a message which is encoded to the bytes that were recorded. To encode the
// message anew would not do: the order of maps is random, and the next release may choose another one.
// Everything else, such as its JSON form, is that of the message.
type exactMessage struct {
	protoreflect.Message
	methods protoiface.Methods
}

// exact returns the message with its encoding.
func exact(msg protoreflect.Message, data []byte) *exactMessage {
	return &exactMessage{msg, protoiface.Methods{
		Flags: protoiface.SupportMarshalDeterministic,
		Size:  func(protoiface.SizeInput) protoiface.SizeOutput { return protoiface.SizeOutput{Size: len(data)} },
		Marshal: func(in protoiface.MarshalInput) (protoiface.MarshalOutput, error) {
			return protoiface.MarshalOutput{Buf: append(in.Buf, data...)}, nil
		},
		CheckInitialized: func(protoiface.CheckInitializedInput) (protoiface.CheckInitializedOutput, error) {
			return protoiface.CheckInitializedOutput{}, proto.CheckInitialized(msg.Interface())
		},
	}}
}

// ProtoReflect implements [proto.Message].
func (m *exactMessage) ProtoReflect() protoreflect.Message { return m }

// Interface implements [protoreflect.Message].
func (m *exactMessage) Interface() protoreflect.ProtoMessage { return m }

// ProtoMethods implements [protoreflect.Message].
func (m *exactMessage) ProtoMethods() *protoiface.Methods { return &m.methods }

// recordedMessage returns the message of that type and encoding. If the type is not known any
// more, because it was renamed, it is taken for what the procedure returns today.
func recordedMessage(spec connect.Spec, name string, data []byte) (*exactMessage, bool) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if method, ok := spec.Schema.(protoreflect.MethodDescriptor); err != nil && ok {
		t, err = protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	}
	if err != nil {
		return nil, false
	}
	msg := t.New()
	if (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(data, msg.Interface()) != nil {
		return nil, false
	}
	return exact(msg, data), true
}
