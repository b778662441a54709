package onceconnect

import (
	"errors"
	"strconv"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/oncehq/once/internal/rpc"
)

const typeURL = "type.googleapis.com/"

func asError(err error) (*connect.Error, bool) {
	coded, ok := errors.AsType[*connect.Error](err)
	return coded, ok && coded != nil
}

// setError puts into the reply what a handler of connect makes of an error.
func setError(reply *rpc.Reply, err error) {
	coded, ok := asError(err)
	if !ok {
		reply.Code, reply.Message = rpc.Unknown, err.Error()
		return
	}
	reply.Code, reply.Message, reply.Details = rpc.Code(coded.Code()), coded.Message(), details(coded)
	if !connect.IsWireError(coded) { // it does not pass on what came from another service
		reply.Fields[rpc.Header] = coded.Meta()
	}
}

func details(err *connect.Error) []rpc.Detail {
	var d []rpc.Detail
	for _, e := range err.Details() {
		d = append(d, rpc.Detail{Type: typeURL + e.Type(), Value: e.Bytes()})
	}
	return d
}

// toError is the inverse of setError, but for the metadata.
func toError(reply *rpc.Reply) *connect.Error {
	err := connect.NewError(connect.Code(reply.Code), errors.New(reply.Message))
	for _, d := range reply.Details {
		if e, bad := connect.NewErrorDetail(&anypb.Any{TypeUrl: d.Type, Value: d.Value}); bad == nil {
			err.AddDetail(e)
		}
	}
	return err
}

// refused returns the error for a call that is refused. Retry-After is for what knows only HTTP.
func refused(reply *rpc.Reply) error {
	err := toError(reply)
	if h := rpc.ParseHints(reply.Details); h.HasDelay {
		seconds := (h.Delay + 999_999_999) / 1_000_000_000
		err.Meta().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	return err
}
