package oncegrpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncegrpc"
	"github.com/oncehq/once/with/oncegrpc/internal/testpb"
)

func TestNewServerReportsEveryProblemAtOnce(t *testing.T) {
	_, err := oncegrpc.NewServer(oncegrpc.Config{
		Header: "A b", MaxResponse: -1, Retention: -1, Timeout: -1, RetryAfter: -1,
	})
	for _, want := range []string{"Guard", "Scope", "Header", "MaxResponse", "Retention", "Timeout", "RetryAfter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
	scope := func(context.Context) (string, error) { return "a", nil }
	for _, cfg := range []oncegrpc.Config{
		{Scope: scope, DangerouslyShareKeys: true}, {Scope: scope, Header: "key-bin"}, {Scope: scope, Header: "grpc-key"},
	} {
		cfg.Guard = newGuard(t, new(oncemem.Store), nil)
		if _, err := oncegrpc.NewServer(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func wantInfo(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	wantCode(t, err, code)
	passes := false
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.Reason != reason || d.Domain != oncegrpc.Domain || d.Metadata["retryable"] == "" {
				t.Errorf("info is %v, want reason %s", d, reason)
			}
			passes = d.Metadata["retryable"] == "true"
			reason = ""
		case *errdetails.RetryInfo:
			if !passes || d.RetryDelay.AsDuration() != oncegrpc.DefaultRetryAfter {
				t.Errorf("there is %v although it does not pass", d)
			}
		}
	}
	if reason != "" {
		t.Errorf("%v has no ErrorInfo for %s", err, reason)
	}
}

// Whatever a handler answers, the replay is the same on the wire.
func TestReplayIsTheSameOnTheWire(t *testing.T) {
	labels := make(map[string]string)
	for i := range 50 {
		labels[fmt.Sprint("label ", i)] = strings.Repeat("x", i)
	}
	detailed, err := status.New(codes.FailedPrecondition, "no stock: ü").WithDetails(
		&errdetails.ErrorInfo{Reason: "STOCK", Metadata: labels}, &testpb.Receipt{Id: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error){
		"maps": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
			return &testpb.Receipt{Labels: labels}, nil
		},
		"empty": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) { return &testpb.Receipt{}, nil },
		"unknown fields": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
			r := &testpb.Receipt{Id: "r"}
			r.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x80, 0x01}) // field 99
			return r, nil
		},
		"metadata": func(ctx context.Context, _ *testpb.ChargeRequest) (*testpb.Receipt, error) {
			err := errors.Join(
				grpc.SetHeader(ctx, metadata.Pairs("a", "1", "a", "2", "b-bin", "\x00\xff")),
				grpc.SendHeader(ctx, metadata.Pairs("c", "3")),
				grpc.SetTrailer(ctx, metadata.Pairs("d", "4", "e-bin", "\xfe")))
			if grpc.SetHeader(ctx, metadata.Pairs("f", "5")) == nil {
				err = errors.Join(err, errors.New("the header could be set after it was sent"))
			}
			return &testpb.Receipt{Id: "r"}, err
		},
		"error with details and metadata": func(ctx context.Context, _ *testpb.ChargeRequest) (*testpb.Receipt, error) {
			err := errors.Join(grpc.SetHeader(ctx, metadata.Pairs("a", "1")), grpc.SetTrailer(ctx, metadata.Pairs("d", "4")))
			if err != nil {
				return nil, err
			}
			return nil, detailed.Err()
		},
		"wrapped error": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
			return nil, fmt.Errorf("charging: %w", status.Error(codes.NotFound, "no card"))
		},
		"final error": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
			return nil, once.Final(status.Error(codes.Internal, "it will stay like that"))
		},
		"plain final error": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
			return nil, once.Final(errors.New("plain"))
		},
		"final context error": func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
			return nil, once.Final(context.DeadlineExceeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &payments{charge: answer}
			plain := charge(t, serve(t, &payments{charge: answer}, nil, nil), "", &testpb.ChargeRequest{})
			conn := guarded(t, p, oncegrpc.Config{})
			first := charge(t, conn, "k", &testpb.ChargeRequest{})
			if first.replayed() {
				t.Error("first reply is marked as a replay")
			}
			for range 5 {
				again := charge(t, conn, "k", &testpb.ChargeRequest{})
				if !again.replayed() {
					t.Error("replay is not marked")
				}
				delete(again.header, oncegrpc.ReplayHeader)
				delete(again.trailer, oncegrpc.ReplayHeader)
				wantSame(t, again, first)
			}
			p.wantRuns(t, 1)
			if !strings.Contains(name, "final") {
				first.data, plain.data = nil, nil // the order of maps is random without a guard
				wantSame(t, first, plain)
			}
		})
	}
}

func wantSame(t *testing.T, got, want wireReply) {
	t.Helper()
	if !bytes.Equal(got.data, want.data) {
		t.Errorf("message is %x, want %x", got.data, want.data)
	}
	if !bytes.Equal(got.status, want.status) || fmt.Sprint(got.err) != fmt.Sprint(want.err) {
		t.Errorf("error is %v, want %v", got.err, want.err)
	}
	for place, pair := range map[string][2]metadata.MD{"header": {got.header, want.header}, "trailer": {got.trailer, want.trailer}} {
		if !maps.EqualFunc(pair[0], pair[1], slices.Equal[[]string]) {
			t.Errorf("%s is %v, want %v", place, pair[0], pair[1])
		}
	}
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
		{[]string{`""`}, "KEY_INVALID"},
		{[]string{`"k`}, "KEY_INVALID"},
		{[]string{"a b"}, "KEY_INVALID"},
		{[]string{strings.Repeat("k", 256)}, "KEY_INVALID"},
	} {
		p := new(payments)
		conn := guarded(t, p, oncegrpc.Config{})
		first := charge(t, conn, "k", &testpb.ChargeRequest{})
		wantCode(t, first.err, codes.OK)
		var md []string
		for _, key := range c.keys {
			md = append(md, "idempotency-key", key)
		}
		r := charge(t, conn, "", &testpb.ChargeRequest{}, md...)
		if c.reason != "" {
			wantInfo(t, r.err, codes.InvalidArgument, c.reason)
		} else if !r.replayed() {
			t.Errorf("%q is another key than k", c.keys)
		}
		p.wantRuns(t, 1)
	}
}

func TestCallsThatPassUnguarded(t *testing.T) {
	p := new(payments)
	conn := guarded(t, p, oncegrpc.Config{Required: true})
	c := testpb.NewPaymentsClient(conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k")
	for range 2 {
		if _, err := c.Lookup(ctx, &testpb.ChargeRequest{}); err != nil {
			t.Error(err)
		}
		if _, err := c.Cancel(t.Context(), &testpb.ChargeRequest{}); err != nil {
			t.Error(err)
		}
	}
	p.wantRuns(t, 4)
	wantInfo(t, charge(t, conn, "", &testpb.ChargeRequest{}).err, codes.InvalidArgument, "KEY_MISSING")
	p.wantRuns(t, 4)

	p = new(payments)
	conn = guarded(t, p, oncegrpc.Config{})
	for range 2 {
		wantCode(t, charge(t, conn, "", &testpb.ChargeRequest{}).err, codes.OK)
	}
	p.wantRuns(t, 2)

	p = new(payments)
	conn = guarded(t, p, oncegrpc.Config{Guarded: func(method string) bool { return strings.HasSuffix(method, "/Cancel") }})
	for range 2 {
		if _, err := testpb.NewPaymentsClient(conn).Cancel(ctx, &testpb.ChargeRequest{}); err != nil {
			t.Error(err)
		}
		wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.OK)
	}
	p.wantRuns(t, 3)
}

func TestStreamsWithAKeyAreRefused(t *testing.T) {
	p := new(payments)
	c := testpb.NewPaymentsClient(guarded(t, p, oncegrpc.Config{Required: true}))
	call := func(ctx context.Context) error {
		stream, err := c.ChargeMany(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.ChargeRequest{}); err != nil && err != io.EOF {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	err := call(metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k"))
	wantInfo(t, err, codes.InvalidArgument, "STREAM_REFUSED")
	p.wantRuns(t, 0)
	if err := call(t.Context()); err != nil {
		t.Error(err)
	}
	p.wantRuns(t, 1)
}

func TestScopesAreApart(t *testing.T) {
	p := new(payments)
	conn := guarded(t, p, oncegrpc.Config{Guarded: func(string) bool { return true }})
	req := &testpb.ChargeRequest{Amount: 5}
	for _, user := range []string{"alice", "bob", "alice"} {
		wantCode(t, charge(t, conn, "k", req, "user", user).err, codes.OK)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k", "user", "alice")
	if _, err := testpb.NewPaymentsClient(conn).Cancel(ctx, req); err != nil {
		t.Error(err)
	}
	p.wantRuns(t, 3)
	wantCode(t, charge(t, conn, "k", req, "user", "mallory").err, codes.Unauthenticated)
	r := charge(t, conn, "k", req, "user", "broken")
	wantInfo(t, r.err, codes.PermissionDenied, "SCOPE_REFUSED")
	if strings.Contains(r.err.Error(), "10.0.0.1") {
		t.Errorf("client was told %v", r.err)
	}
	p.wantRuns(t, 3)
}

func TestAnotherRequestWithTheKeyIsRefused(t *testing.T) {
	p := new(payments)
	conn := guarded(t, p, oncegrpc.Config{})
	labels := map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
	for range 5 { // the order of maps on the wire is random
		wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{Amount: 5, Labels: labels}).err, codes.OK)
	}
	unknown := &testpb.ChargeRequest{Amount: 5, Labels: labels}
	unknown.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x01})
	for _, req := range []*testpb.ChargeRequest{{Amount: 6, Labels: labels}, {Amount: 5}, unknown} {
		wantInfo(t, charge(t, conn, "k", req).err, codes.FailedPrecondition, "KEY_REUSED")
	}
	p.wantRuns(t, 1)

	p = new(payments)
	conn = guarded(t, p, oncegrpc.Config{Fingerprint: func(_ string, req proto.Message) (once.Fingerprint, error) {
		if r := req.(*testpb.ChargeRequest); r.Amount >= 0 {
			return once.FingerprintOf([]byte(fmt.Sprint(r.Amount))), nil
		}
		return once.Fingerprint{}, errors.New("amount is negative")
	}})
	wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{Amount: 5}).err, codes.OK)
	wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{Amount: 5, Labels: labels}).err, codes.OK)
	wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{Amount: -5}).err, codes.InvalidArgument)
	p.wantRuns(t, 1)
}

func TestKeysInAField(t *testing.T) {
	p := new(payments)
	conn := guarded(t, p, oncegrpc.Config{KeyFrom: oncegrpc.FromField("request_id")})
	req := &testpb.ChargeRequest{RequestId: "4c5a6f1c", Amount: 5}
	for range 2 {
		wantCode(t, charge(t, conn, "ignored, here", req).err, codes.OK)
	}
	p.wantRuns(t, 1)
	wantInfo(t, charge(t, conn, "", &testpb.ChargeRequest{RequestId: "4c5a6f1c", Amount: 6}).err, codes.FailedPrecondition, "KEY_REUSED")
	wantInfo(t, charge(t, conn, "", &testpb.ChargeRequest{RequestId: strings.Repeat("k", 256)}).err, codes.InvalidArgument, "KEY_INVALID")
	wantCode(t, charge(t, conn, "", &testpb.ChargeRequest{}).err, codes.OK) // no key
	p.wantRuns(t, 2)
	for _, field := range []string{"amount", "labels", "no_such_field"} {
		if key, err := oncegrpc.FromField(field)(t.Context(), req); key != "" || err != nil {
			t.Errorf("key in %s is %q, %v", field, key, err)
		}
	}
}

func TestKeepSaysWhatAStatusMeans(t *testing.T) {
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		return nil, status.Error(codes.NotFound, "not yet")
	}}
	conn := guarded(t, p, oncegrpc.Config{Keep: func(code codes.Code) oncehttp.Decision {
		if code == codes.NotFound {
			return oncehttp.Release
		}
		return oncegrpc.KeepFinal(code)
	}})
	for range 3 {
		wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.NotFound)
	}
	p.wantRuns(t, 3)
}

func TestUnknownOutcomesAreInDoubt(t *testing.T) {
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		return nil, errors.New("connection reset")
	}}
	conn := guarded(t, p, oncegrpc.Config{})
	wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.Unknown)
	wantInfo(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.Unknown, "IN_DOUBT")
	p.wantRuns(t, 1)
}
