package oncegrpc

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/oncehq/once/internal/rpc"
)

// level returns what the schema says of a method, given its full name: "/acme.v1.Payments/Charge".
// Of a method whose schema is not linked in nothing is known.
func level(method string) rpc.Level {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return rpc.Unspecified
	}
	options, ok := d.Options().(*descriptorpb.MethodOptions)
	if !ok {
		return rpc.Unspecified
	}
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return rpc.NoSideEffects
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return rpc.Idempotent
	}
	return rpc.Unspecified
}
