package onceconnect_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/onceconnect"
	"github.com/oncehq/once/with/onceconnect/internal/testpb"
)

func TestNewServerReportsEveryProblemAtOnce(t *testing.T) {
	_, err := onceconnect.NewServer(onceconnect.Config{
		Header: "A b", MaxResponse: -1, Retention: -1, Timeout: -1, RetryAfter: -1,
	})
	for _, want := range []string{"Guard", "Scope", "Header", "MaxResponse", "Retention", "Timeout", "RetryAfter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
	scope := func(context.Context, connect.AnyRequest) (string, error) { return "a", nil }
	for _, cfg := range []onceconnect.Config{
		{Scope: scope, DangerouslyShareKeys: true}, {Scope: scope, Header: "Key-Bin"}, {Scope: scope, Header: "connect-key"},
	} {
		cfg.Guard = newGuard(t, new(oncemem.Store), nil)
		if _, err := onceconnect.NewServer(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func wantInfo(t *testing.T, err error, code connect.Code, reason string) {
	t.Helper()
	wantCode(t, err, code)
	refusal, _ := errors.AsType[*connect.Error](err)
	var details []rpc.Detail
	for _, d := range refusal.Details() {
		details = append(details, rpc.Detail{Type: d.Type(), Value: d.Bytes()})
	}
	h := rpc.ParseHints(details)
	if h.Reason != reason || h.Retryable == "" {
		t.Errorf("%v has details %+v, want reason %s", err, h, reason)
	}
	passes := h.Retryable == "true"
	if passes != h.HasDelay || passes != (refusal.Meta().Get("Retry-After") == "1") {
		t.Errorf("%v has details %+v and metadata %v", err, h, refusal.Meta())
	}
}

// Whatever a handler answers, the replay is the same on the wire, by each protocol and codec.
func TestReplayIsTheSameOnTheWire(t *testing.T) {
	labels := make(map[string]string)
	for i := range 50 {
		labels[fmt.Sprint("label ", i)] = strings.Repeat("x", i)
	}
	answers := map[string]func(context.Context, *request) (*receipt, error){
		"maps": func(context.Context, *request) (*receipt, error) {
			return connect.NewResponse(&testpb.Receipt{Labels: labels}), nil
		},
		"empty": func(context.Context, *request) (*receipt, error) { return connect.NewResponse(&testpb.Receipt{}), nil },
		"metadata": func(ctx context.Context, _ *request) (*receipt, error) {
			r := connect.NewResponse(&testpb.Receipt{Id: "r"})
			r.Header().Add("A", "1")
			r.Header().Add("A", "2")
			r.Header().Set("B-Bin", connect.EncodeBinaryHeader([]byte{0, 0xff}))
			r.Trailer().Set("D", "4")
			info, ok := connect.CallInfoForHandlerContext(ctx)
			if !ok {
				return nil, errors.New("there is no call info")
			}
			info.ResponseHeader().Add("A", "0")
			info.ResponseTrailer().Add("E", "5")
			return r, nil
		},
		"error with details and metadata": func(ctx context.Context, _ *request) (*receipt, error) {
			err := connect.NewError(connect.CodeFailedPrecondition, errors.New("no stock: ü"))
			for _, msg := range []proto.Message{&testpb.Receipt{Id: "r"}, structpb.NewStringValue("why")} {
				d, bad := connect.NewErrorDetail(msg)
				if bad != nil {
					return nil, bad
				}
				err.AddDetail(d)
			}
			err.Meta().Add("A", "1")
			err.Meta().Add("A", "2")
			if info, ok := connect.CallInfoForHandlerContext(ctx); ok {
				info.ResponseHeader().Add("C", "3")
				info.ResponseTrailer().Add("E", "5")
			}
			return nil, err
		},
		"wrapped error": func(context.Context, *request) (*receipt, error) {
			return nil, fmt.Errorf("charging: %w", connect.NewError(connect.CodeNotFound, errors.New("no card")))
		},
		"error of another service": func(context.Context, *request) (*receipt, error) {
			err := connect.NewWireError(connect.CodeNotFound, errors.New("no card"))
			err.Meta().Set("Secret", "1") // which connect does not pass on
			return nil, err
		},
		"final error": func(context.Context, *request) (*receipt, error) {
			return nil, once.Final(connect.NewError(connect.CodeInternal, errors.New("it will stay like that")))
		},
		"plain final error": func(context.Context, *request) (*receipt, error) { return nil, once.Final(errors.New("plain")) },
	}
	frame := func(data []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
	}
	protocols := map[string][]byte{
		"application/proto":          {0x10, 5},
		"application/json":           []byte(`{"amount":"5"}`),
		"application/grpc+proto":     frame([]byte{0x10, 5}),
		"application/grpc-web+proto": frame([]byte{0x10, 5}),
		"application/grpc+json":      frame([]byte(`{"amount":"5"}`)),
	}
	for name, answer := range answers {
		for contentType, body := range protocols {
			t.Run(name+" "+contentType, func(t *testing.T) {
				t.Parallel()
				plain := post(t, serve(t, &payments{charge: answer}), "", contentType, body)
				p := &payments{charge: answer}
				srv := guarded(t, p, onceconnect.Config{})
				first := post(t, srv, "k", contentType, body)
				if first.unmark() {
					t.Error("first reply is marked as a replay")
				}
				for range 3 {
					again := post(t, srv, "k", contentType, body)
					if !again.unmark() {
						t.Error("replay is not marked")
					}
					if again.String() != first.String() {
						t.Errorf("replay is\n%v\nwant\n%v", again, first)
					}
				}
				p.wantRuns(t, 1)
				if name != "maps" && first.String() != plain.String() {
					t.Errorf("first reply is\n%v\nand without a guard\n%v", first, plain)
				}
			})
		}
	}
}

// A key is for an operation, not for the way it is asked for.
func TestReplayToAnotherProtocol(t *testing.T) {
	p := new(payments)
	srv := guarded(t, p, onceconnect.Config{})
	for _, opts := range [][]connect.ClientOption{nil, {connect.WithProtoJSON()}, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
		r, err := client(srv, opts...).Charge(t.Context(), newRequest(&testpb.ChargeRequest{Amount: 5}, "Idempotency-Key", "k"))
		if err != nil || r.Msg.Id != "r1" || r.Msg.Amount != 5 {
			t.Errorf("reply is %v, %v", r, err)
		}
	}
	p.wantRuns(t, 1)
}

func TestKeysAreReadLikeThoseOfHTTP(t *testing.T) {
	for _, c := range []struct {
		keys   []string
		reason string
	}{
		{[]string{"k"}, ""},
		{[]string{`"k"`}, ""},
		{[]string{`"k";a=1`}, ""},
		{[]string{"k", "k"}, "KEY_INVALID"},
		{[]string{""}, "KEY_INVALID"},
		{[]string{`"k`}, "KEY_INVALID"},
		{[]string{strings.Repeat("k", 256)}, "KEY_INVALID"},
	} {
		p := new(payments)
		srv := guarded(t, p, onceconnect.Config{})
		r, err := charge(t, srv, "k", &testpb.ChargeRequest{})
		wantOK(t, r, err)
		var header []string
		for _, key := range c.keys {
			header = append(header, "Idempotency-Key", key)
		}
		r, err = client(srv).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}, header...))
		if c.reason != "" {
			wantInfo(t, err, connect.CodeInvalidArgument, c.reason)
		} else if err != nil || r.Header().Get(onceconnect.ReplayHeader) != "true" {
			t.Errorf("%q is another key than k: %v", c.keys, err)
		}
		p.wantRuns(t, 1)
	}
}

func TestCallsThatPassUnguarded(t *testing.T) {
	p := new(payments)
	srv := guarded(t, p, onceconnect.Config{Required: true})
	c := client(srv, connect.WithHTTPGet())
	for range 2 {
		r, err := c.Lookup(t.Context(), newRequest(&testpb.ChargeRequest{}, "Idempotency-Key", "k"))
		wantOK(t, r, err)
		r, err = c.Cancel(t.Context(), newRequest(&testpb.ChargeRequest{}))
		wantOK(t, r, err)
	}
	p.wantRuns(t, 4)
	_, err := c.Charge(t.Context(), newRequest(&testpb.ChargeRequest{}))
	wantInfo(t, err, connect.CodeInvalidArgument, "KEY_MISSING")
	p.wantRuns(t, 4)

	p = new(payments)
	srv = guarded(t, p, onceconnect.Config{})
	for range 2 {
		r, err := client(srv).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}))
		wantOK(t, r, err)
	}
	p.wantRuns(t, 2)

	p = new(payments)
	srv = guarded(t, p, onceconnect.Config{Guarded: func(spec connect.Spec) bool { return strings.HasSuffix(spec.Procedure, "/Cancel") }})
	for range 2 {
		r, err := client(srv).Cancel(t.Context(), newRequest(&testpb.ChargeRequest{}, "Idempotency-Key", "k"))
		wantOK(t, r, err)
		r, err = charge(t, srv, "k", &testpb.ChargeRequest{})
		wantOK(t, r, err)
	}
	p.wantRuns(t, 3)
}

func TestStreamsWithAKeyAreRefused(t *testing.T) {
	p := new(payments)
	c := client(guarded(t, p, onceconnect.Config{Required: true}))
	call := func(key string) error {
		stream := c.ChargeMany(t.Context())
		defer stream.CloseResponse()
		if key != "" {
			stream.RequestHeader().Set("Idempotency-Key", key)
		}
		if err := stream.Send(&testpb.ChargeRequest{}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := stream.CloseRequest(); err != nil {
			return err
		}
		_, err := stream.Receive()
		return err
	}
	wantInfo(t, call("k"), connect.CodeInvalidArgument, "STREAM_REFUSED")
	p.wantRuns(t, 0)
	if err := call(""); err != nil {
		t.Error(err)
	}
	p.wantRuns(t, 1)
}

func TestScopesAreApart(t *testing.T) {
	p := new(payments)
	srv := guarded(t, p, onceconnect.Config{Guarded: func(connect.Spec) bool { return true }})
	msg := &testpb.ChargeRequest{Amount: 5}
	for _, user := range []string{"alice", "bob", "alice"} {
		r, err := charge(t, srv, "k", msg, "User", user)
		wantOK(t, r, err)
	}
	r, err := client(srv).Cancel(t.Context(), newRequest(msg, "Idempotency-Key", "k", "User", "alice"))
	wantOK(t, r, err)
	p.wantRuns(t, 3)
	_, err = charge(t, srv, "k", msg, "User", "mallory")
	wantCode(t, err, connect.CodeUnauthenticated)
	_, err = charge(t, srv, "k", msg, "User", "broken")
	wantInfo(t, err, connect.CodePermissionDenied, "SCOPE_REFUSED")
	if strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("client was told %v", err)
	}
	p.wantRuns(t, 3)
}

func TestAnotherRequestWithTheKeyIsRefused(t *testing.T) {
	p := new(payments)
	srv := guarded(t, p, onceconnect.Config{})
	labels := map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
	for range 5 { // the order of maps on the wire is random
		r, err := charge(t, srv, "k", &testpb.ChargeRequest{Amount: 5, Labels: labels})
		wantOK(t, r, err)
	}
	for _, msg := range []*testpb.ChargeRequest{{Amount: 6, Labels: labels}, {Amount: 5}} {
		_, err := charge(t, srv, "k", msg)
		wantInfo(t, err, connect.CodeFailedPrecondition, "KEY_REUSED")
	}
	p.wantRuns(t, 1)

	p = new(payments)
	srv = guarded(t, p, onceconnect.Config{Fingerprint: func(_ string, req proto.Message) (once.Fingerprint, error) {
		if r := req.(*testpb.ChargeRequest); r.Amount >= 0 {
			return once.FingerprintOf([]byte(fmt.Sprint(r.Amount))), nil
		}
		return once.Fingerprint{}, errors.New("amount is negative")
	}})
	for _, msg := range []*testpb.ChargeRequest{{Amount: 5}, {Amount: 5, Labels: labels}} {
		r, err := charge(t, srv, "k", msg)
		wantOK(t, r, err)
	}
	_, err := charge(t, srv, "k", &testpb.ChargeRequest{Amount: -5})
	wantCode(t, err, connect.CodeInvalidArgument)
	p.wantRuns(t, 1)
}

func TestKeysInAField(t *testing.T) {
	p := new(payments)
	srv := guarded(t, p, onceconnect.Config{KeyFrom: onceconnect.FromField("request_id")})
	for range 2 {
		r, err := charge(t, srv, "ignored, here", &testpb.ChargeRequest{RequestId: "4c5a6f1c", Amount: 5})
		wantOK(t, r, err)
	}
	p.wantRuns(t, 1)
	_, err := charge(t, srv, "k", &testpb.ChargeRequest{RequestId: "4c5a6f1c", Amount: 6})
	wantInfo(t, err, connect.CodeFailedPrecondition, "KEY_REUSED")
	_, err = charge(t, srv, "k", &testpb.ChargeRequest{RequestId: strings.Repeat("k", 256)})
	wantInfo(t, err, connect.CodeInvalidArgument, "KEY_INVALID")
	r, err := charge(t, srv, "k", &testpb.ChargeRequest{}) // no key
	wantOK(t, r, err)
	p.wantRuns(t, 2)
}

func TestKeepSaysWhatACodeMeans(t *testing.T) {
	p := &payments{charge: func(context.Context, *request) (*receipt, error) {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("not yet"))
	}}
	srv := guarded(t, p, onceconnect.Config{Keep: func(code connect.Code) oncehttp.Decision {
		if code == connect.CodeNotFound {
			return oncehttp.Release
		}
		return onceconnect.KeepFinal(code)
	}})
	for range 3 {
		_, err := charge(t, srv, "k", &testpb.ChargeRequest{})
		wantCode(t, err, connect.CodeNotFound)
	}
	p.wantRuns(t, 3)
}
