package oncegrpc

import (
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/oncehq/once/internal/rpc"
)

// setError puts into the reply what the server of gRPC makes of a handler's error.
func setError(reply *rpc.Reply, err error) {
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	p := st.Proto()
	reply.Code, reply.Message, reply.Details = rpc.Code(p.GetCode()), p.GetMessage(), details(p)
}

func details(p *spb.Status) []rpc.Detail {
	var d []rpc.Detail
	for _, a := range p.GetDetails() {
		d = append(d, rpc.Detail{Type: a.GetTypeUrl(), Value: a.GetValue()})
	}
	return d
}

// toError is the inverse of setError.
func toError(reply *rpc.Reply) error {
	p := &spb.Status{Code: int32(reply.Code), Message: reply.Message}
	for _, d := range reply.Details {
		p.Details = append(p.Details, &anypb.Any{TypeUrl: d.Type, Value: d.Value})
	}
	return status.ErrorProto(p)
}
