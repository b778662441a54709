package oncegrpc_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/with/oncegrpc"
	"github.com/oncehq/once/with/oncegrpc/internal/testpb"
)

// The client hangs up, the handler goes on, and the retry is given its reply.
func TestHandlerOutlivesTheClient(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	p := &payments{charge: func(ctx context.Context, _ *testpb.ChargeRequest) (*testpb.Receipt, error) {
		started <- true
		<-release
		return &testpb.Receipt{Id: "r1"}, errors.Join(ctx.Err(), grpc.SetHeader(ctx, metadata.Pairs("a", "1")))
	}}
	conn := guarded(t, p, oncegrpc.Config{Guard: newGuard(t, new(oncemem.Store), func(cfg *once.Config) { cfg.Wait = time.Minute })})
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k"))
	go func() {
		<-started
		cancel()
	}()
	_, err := testpb.NewPaymentsClient(conn).Charge(ctx, &testpb.ChargeRequest{})
	wantCode(t, err, codes.Canceled)
	close(release)
	r := charge(t, conn, "k", &testpb.ChargeRequest{})
	wantCode(t, r.err, codes.OK)
	if !r.replayed() || !slices.Equal(r.header["a"], []string{"1"}) {
		t.Errorf("header of the replay is %v", r.header)
	}
	p.wantRuns(t, 1)
}

func TestInFlightIsRefused(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		close(started)
		<-release
		return &testpb.Receipt{}, nil
	}}
	conn := guarded(t, p, oncegrpc.Config{})
	done := make(chan error)
	go func() {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k")
		_, err := testpb.NewPaymentsClient(conn).Charge(ctx, &testpb.ChargeRequest{})
		done <- err
	}()
	<-started
	wantInfo(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.Aborted, "IN_FLIGHT")
	wantInfo(t, charge(t, conn, "k", &testpb.ChargeRequest{Amount: 1}).err, codes.FailedPrecondition, "KEY_REUSED")
	close(release)
	wantCode(t, <-done, codes.OK)
}

func TestPanicIsInDoubtAndGoesOn(t *testing.T) {
	var recovered any
	outside := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if recovered = recover(); recovered != nil {
				err = status.Error(codes.Internal, "panic")
			}
		}()
		return handler(ctx, req)
	}
	s, err := oncegrpc.NewServer(oncegrpc.Config{Guard: newGuard(t, new(oncemem.Store), nil), DangerouslyShareKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) { panic("boom") }}
	conn := serve(t, p, []grpc.UnaryServerInterceptor{outside, s.Unary}, nil)
	wantCode(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.Internal)
	if recovered != "boom" {
		t.Errorf("recovered %v", recovered)
	}
	wantInfo(t, charge(t, conn, "k", &testpb.ChargeRequest{}).err, codes.Unknown, "IN_DOUBT")
	p.wantRuns(t, 1)
}

func TestStoreThatIsDownRefuses(t *testing.T) {
	broken := errors.New("store is broken")
	store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, _ int) (f oncetest.Fault) {
		if v == oncetest.Claim {
			f.Before = broken
		}
		return f
	})
	p := new(payments)
	conn := guarded(t, p, oncegrpc.Config{Guard: newGuard(t, store, nil)})
	r := charge(t, conn, "k", &testpb.ChargeRequest{})
	wantInfo(t, r.err, codes.Unavailable, "STORE_UNAVAILABLE")
	if strings.Contains(r.err.Error(), broken.Error()) {
		t.Errorf("client was told %v", r.err)
	}
	p.wantRuns(t, 0)
}

func TestLargeReplyIsSentOnceAndDone(t *testing.T) {
	var log bytes.Buffer
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		return &testpb.Receipt{Id: strings.Repeat("x", 500)}, nil
	}}
	conn := guarded(t, p, oncegrpc.Config{MaxResponse: 400, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	first := charge(t, conn, "secret", &testpb.ChargeRequest{})
	wantCode(t, first.err, codes.OK)
	if len(first.data) < 500 {
		t.Errorf("first reply has %d bytes", len(first.data))
	}
	wantInfo(t, charge(t, conn, "secret", &testpb.ChargeRequest{}).err, codes.FailedPrecondition, "RESPONSE_NOT_KEPT")
	p.wantRuns(t, 1)
	if text := log.String(); !strings.Contains(text, "too large") || strings.Contains(text, "secret") {
		t.Errorf("log is %q", text)
	}
}

// What is outside sees a message with the fields of the handler's, also on a replay.
func TestOutsideSeesTheMessage(t *testing.T) {
	var seen []string
	outside := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		if msg, ok := resp.(proto.Message); ok {
			text, err := protojson.Marshal(msg)
			if err != nil {
				t.Error(err)
			}
			if want := (&testpb.Receipt{Id: "r1"}); !proto.Equal(msg, want) || proto.Size(msg) != proto.Size(want) {
				t.Errorf("message is not equal to %v, or has another size: %d", want, proto.Size(msg))
			}
			seen = append(seen, strings.ReplaceAll(string(text), " ", ""))
		}
		return resp, err
	}
	s, err := oncegrpc.NewServer(oncegrpc.Config{Guard: newGuard(t, new(oncemem.Store), nil), DangerouslyShareKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	conn := serve(t, new(payments), []grpc.UnaryServerInterceptor{outside, s.Unary}, nil)
	for range 2 {
		r := charge(t, conn, "k", &testpb.ChargeRequest{})
		wantCode(t, r.err, codes.OK)
		got := new(testpb.Receipt)
		if err := proto.Unmarshal(r.data, got); err != nil || got.Id != "r1" {
			t.Errorf("message is %v, %v", got, err)
		}
	}
	if want := []string{`{"id":"r1"}`, `{"id":"r1"}`}; !slices.Equal(seen, want) {
		t.Errorf("outside saw %q, want %q", seen, want)
	}
}
