package onceconnect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once/internal/rpc"
)

var errNoMessage = errors.New("onceconnect: message is no protobuf message, and the call cannot be guarded")

// A call is one call with a key whose handler may be run.
type call struct {
	req  connect.AnyRequest
	next connect.UnaryFunc
	meta *contextMeta

	// Of the last run:
	resp connect.AnyResponse
	err  error
}

// run runs the handler and returns what is to be recorded.
func (c *call) run(ctx context.Context) (*rpc.Reply, error) {
	c.meta.reset()
	c.resp = nil
	resp, err := c.next(ctx, c.req)
	c.err = rpc.Unmark(err)
	reply := new(rpc.Reply)
	if err == nil {
		if err = c.respond(reply, resp); err != nil {
			c.err = connect.NewError(connect.CodeInternal, err)
		}
	}
	if c.err != nil {
		setError(reply, c.err)
	}
	reply.Fields[rpc.ContextHeader], reply.Fields[rpc.ContextTrailer] = c.meta.recorded()
	return reply, err
}

// respond puts the handler's response into the reply, and makes the one that is sent.
func (c *call) respond(reply *rpc.Reply, resp connect.AnyResponse) error {
	msg, ok := resp.Any().(proto.Message)
	if !ok {
		return fmt.Errorf("%w: %T", errNoMessage, resp.Any())
	}
	data, err := marshal(msg)
	if err != nil {
		return err
	}
	reply.Type, reply.Data = string(msg.ProtoReflect().Descriptor().FullName()), data
	reply.Fields[rpc.Header] = resp.Header()
	reply.Fields[rpc.Trailer] = resp.Trailer()
	c.resp = response(exact(msg.ProtoReflect(), data), resp.Header(), resp.Trailer())
	return nil
}

// answer sends what the handler came to; header and trailer in the context are there already.
func (c *call) answer() (connect.AnyResponse, error) {
	if c.err != nil {
		return nil, c.err
	}
	return c.resp, nil
}

func response(msg *exactMessage, header, trailer http.Header) connect.AnyResponse {
	resp := connect.NewResponse(msg)
	addAll(resp.Header(), header)
	addAll(resp.Trailer(), trailer)
	return resp
}

// replay sends what is recorded.
func replay(meta *contextMeta, spec connect.Spec, reply *rpc.Reply) (connect.AnyResponse, error) {
	if reply.Code != rpc.OK {
		meta.add(reply.Fields[rpc.ContextHeader], reply.Fields[rpc.ContextTrailer])
		err := toError(reply)
		addAll(err.Meta(), reply.Fields[rpc.Header])
		addAll(err.Meta(), reply.Fields[rpc.Trailer]) // grpc-go has them apart
		err.Meta().Set(ReplayHeader, "true")
		return nil, err
	}
	msg, ok := recordedMessage(spec, reply.Type, reply.Data)
	if !ok {
		return nil, refused(rpc.Refuse(rpc.RecordUnreadable, 0))
	}
	meta.add(reply.Fields[rpc.ContextHeader], reply.Fields[rpc.ContextTrailer])
	resp := response(msg, reply.Fields[rpc.Header], reply.Fields[rpc.Trailer])
	resp.Header().Set(ReplayHeader, "true")
	return resp, nil
}

// contextMeta are the header and trailer that handlers set by their context
// ([connect.CallInfoForHandlerContext]) and not on their response.
type contextMeta struct {
	header, trailer http.Header // nil if there is no such context
	before          [2]http.Header
}

// responseMeta takes note of what somebody outside has set, which is not to be recorded.
func responseMeta(ctx context.Context) *contextMeta {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return new(contextMeta)
	}
	m := &contextMeta{header: info.ResponseHeader(), trailer: info.ResponseTrailer()}
	m.before = [2]http.Header{m.header.Clone(), m.trailer.Clone()}
	return m
}

// reset takes back what an earlier run of the handler has set.
func (m *contextMeta) reset() {
	for i, h := range []http.Header{m.header, m.trailer} {
		clear(h)
		maps.Copy(h, m.before[i].Clone())
	}
}

// recorded returns what the handler has set.
func (m *contextMeta) recorded() (header, trailer http.Header) {
	return added(m.header, m.before[0]), added(m.trailer, m.before[1])
}

func added(after, before http.Header) http.Header {
	var added http.Header
	for name, values := range after {
		was := before[name]
		if len(values) >= len(was) && slices.Equal(values[:len(was)], was) {
			values = values[len(was):]
		}
		if len(values) > 0 {
			if added == nil {
				added = make(http.Header)
			}
			added[name] = slices.Clone(values)
		}
	}
	return added
}

func (m *contextMeta) add(header, trailer http.Header) {
	if m.header != nil {
		addAll(m.header, header)
		addAll(m.trailer, trailer)
	}
}

func addAll(to, from http.Header) {
	for name, values := range from {
		for _, v := range values {
			to.Add(name, v)
		}
	}
}
