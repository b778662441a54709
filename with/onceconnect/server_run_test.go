package onceconnect_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/rpc"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/with/onceconnect"
	"github.com/oncehq/once/with/onceconnect/internal/testpb"
	"github.com/oncehq/once/with/onceconnect/internal/testpb/testpbconnect"
)

func TestUnknownOutcomesAreInDoubt(t *testing.T) {
	p := &payments{charge: func(context.Context, *request) (*receipt, error) { return nil, errors.New("connection reset") }}
	srv := guarded(t, p, onceconnect.Config{})
	_, err := charge(t, srv, "k", &testpb.ChargeRequest{})
	wantCode(t, err, connect.CodeUnknown)
	_, err = charge(t, srv, "k", &testpb.ChargeRequest{})
	wantInfo(t, err, connect.CodeUnknown, "IN_DOUBT")
	p.wantRuns(t, 1)
}

type requestContext struct{}

// The client hangs up, the handler goes on, and the retry is given its reply.
func TestHandlerOutlivesTheClient(t *testing.T) {
	for _, opts := range [][]connect.ClientOption{nil, {connect.WithGRPC()}} {
		started, hungUp := make(chan bool), make(chan bool)
		note := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				return next(context.WithValue(ctx, requestContext{}, ctx), req)
			}
		})
		p := &payments{charge: func(ctx context.Context, _ *request) (*receipt, error) {
			close(started)
			<-ctx.Value(requestContext{}).(context.Context).Done() // the server has noticed that the client is gone
			<-hungUp
			return connect.NewResponse(&testpb.Receipt{Id: "r1"}), ctx.Err()
		}}
		s := newServer(t, onceconnect.Config{Guard: newGuard(t, new(oncemem.Store), func(cfg *once.Config) { cfg.Wait = time.Minute })})
		srv := serve(t, p, note, s)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-started
			cancel()
		}()
		_, err := client(srv, opts...).Charge(ctx, newRequest(&testpb.ChargeRequest{}, "Idempotency-Key", "k"))
		wantCode(t, err, connect.CodeCanceled)
		close(hungUp)
		again := client(srv, opts...)
		r, err := again.Charge(t.Context(), newRequest(&testpb.ChargeRequest{}, "Idempotency-Key", "k"))
		wantOK(t, r, err)
		if r.Msg.Id != "r1" || r.Header().Get(onceconnect.ReplayHeader) != "true" {
			t.Errorf("reply is %v %v", r.Msg, r.Header())
		}
		p.wantRuns(t, 1)
	}
}

func TestInFlightIsRefused(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	p := &payments{charge: func(context.Context, *request) (*receipt, error) {
		close(started)
		<-release
		return connect.NewResponse(&testpb.Receipt{}), nil
	}}
	srv := guarded(t, p, onceconnect.Config{})
	done := make(chan error)
	go func() {
		_, err := client(srv).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}, "Idempotency-Key", "k"))
		done <- err
	}()
	<-started
	_, err := charge(t, srv, "k", &testpb.ChargeRequest{})
	wantInfo(t, err, connect.CodeAborted, "IN_FLIGHT")
	_, err = charge(t, srv, "k", &testpb.ChargeRequest{Amount: 1})
	wantInfo(t, err, connect.CodeFailedPrecondition, "KEY_REUSED")
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPanicIsInDoubtAndGoesOn(t *testing.T) {
	p := &payments{charge: func(context.Context, *request) (*receipt, error) { panic("boom") }}
	recovered := make(chan any, 1)
	s := newServer(t, onceconnect.Config{})
	outside := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (_ connect.AnyResponse, err error) {
			defer func() {
				if r := recover(); r != nil {
					recovered <- r
					err = connect.NewError(connect.CodeInternal, errors.New("panic"))
				}
			}()
			return next(ctx, req)
		}
	})
	srv := serve(t, p, outside, s)
	_, err := charge(t, srv, "k", &testpb.ChargeRequest{})
	wantCode(t, err, connect.CodeInternal)
	if r := <-recovered; r != "boom" {
		t.Errorf("recovered %v", r)
	}
	_, err = charge(t, srv, "k", &testpb.ChargeRequest{})
	wantInfo(t, err, connect.CodeUnknown, "IN_DOUBT")
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
	srv := guarded(t, p, onceconnect.Config{Guard: newGuard(t, store, nil)})
	_, err := charge(t, srv, "k", &testpb.ChargeRequest{})
	wantInfo(t, err, connect.CodeUnavailable, "STORE_UNAVAILABLE")
	if strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("client was told %v", err)
	}
	p.wantRuns(t, 0)
}

func TestLargeReplyIsSentOnceAndDone(t *testing.T) {
	var log bytes.Buffer
	p := &payments{charge: func(context.Context, *request) (*receipt, error) {
		return connect.NewResponse(&testpb.Receipt{Id: strings.Repeat("x", 500)}), nil
	}}
	srv := guarded(t, p, onceconnect.Config{MaxResponse: 400, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r, err := charge(t, srv, "secret", &testpb.ChargeRequest{})
	wantOK(t, r, err)
	if len(r.Msg.Id) != 500 {
		t.Errorf("first reply has %d bytes", len(r.Msg.Id))
	}
	_, err = charge(t, srv, "secret", &testpb.ChargeRequest{})
	wantInfo(t, err, connect.CodeFailedPrecondition, "RESPONSE_NOT_KEPT")
	p.wantRuns(t, 1)
	if text := log.String(); !strings.Contains(text, "too large") || strings.Contains(text, "secret") {
		t.Errorf("log is %q", text)
	}
}

// What is outside sees a message with the fields of the handler's, also on a replay; and what it
// sets itself is set once, and is not replayed.
func TestOutsideSeesTheMessageAndKeepsItsHeader(t *testing.T) {
	var seen []string
	n := 0
	outside := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			n++
			info, _ := connect.CallInfoForHandlerContext(ctx)
			info.ResponseHeader().Set("Request-Number", strings.Repeat("i", n))
			resp, err := next(ctx, req)
			if err != nil {
				return nil, err
			}
			msg := resp.Any().(proto.Message)
			text, err := protojson.Marshal(msg)
			seen = append(seen, strings.ReplaceAll(string(text), " ", ""))
			if !proto.Equal(msg, &testpb.Receipt{Id: "r1"}) {
				t.Errorf("message is %v", msg)
			}
			return resp, err
		}
	})
	srv := serve(t, new(payments), outside, newServer(t, onceconnect.Config{}))
	for i := range 2 {
		r, err := charge(t, srv, "k", &testpb.ChargeRequest{})
		wantOK(t, r, err)
		if got, want := r.Header()["Request-Number"], strings.Repeat("i", i+1); !slices.Equal(got, []string{want}) {
			t.Errorf("header from outside is %q, want %q", got, want)
		}
	}
	if want := []string{`{"id":"r1"}`, `{"id":"r1"}`}; !slices.Equal(seen, want) {
		t.Errorf("outside saw %q, want %q", seen, want)
	}
}

// What an earlier run of the handler set is not sent if its transaction was rolled back.
func TestARunThatWasRolledBackLeavesNothing(t *testing.T) {
	store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) (f oncetest.Fault) {
		if v == oncetest.Complete && n == 1 {
			f.Before = once.ErrRolledBack
		}
		return f
	})
	runs := 0
	p := &payments{charge: func(ctx context.Context, _ *request) (*receipt, error) {
		runs++
		info, _ := connect.CallInfoForHandlerContext(ctx)
		info.ResponseHeader().Add("Run", strings.Repeat("i", runs))
		return connect.NewResponse(&testpb.Receipt{}), nil
	}}
	srv := guarded(t, p, onceconnect.Config{Guard: newGuard(t, rollingBack{store}, nil)})
	r, err := charge(t, srv, "k", &testpb.ChargeRequest{})
	wantOK(t, r, err)
	if got := r.Header()["Run"]; !slices.Equal(got, []string{"ii"}) {
		t.Errorf("header is %q", got)
	}
	p.wantRuns(t, 2)
}

// rollingBack removes the claim with the transaction.
type rollingBack struct{ once.Store }

func (s rollingBack) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, keep time.Duration) error {
	err := s.Store.Complete(ctx, k, o, out, keep)
	if errors.Is(err, once.ErrRolledBack) {
		if err := s.Store.Release(ctx, k, o); err != nil {
			return err
		}
	}
	return err
}

// A record may have been made by a server of package oncegrpc, or by a release in which the message had
// another name.
func TestRecordsOfOthersAreReplayed(t *testing.T) {
	data, err := proto.Marshal(&testpb.Receipt{Id: "recorded"})
	if err != nil {
		t.Fatal(err)
	}
	ok := &rpc.Reply{Type: "acme.v0.Receipt", Data: data}
	ok.Fields[rpc.Header] = map[string][]string{"x-a": {"1"}, "x-b-bin": {"AP8"}}
	failed := &rpc.Reply{Code: rpc.NotFound, Message: "no card"}
	failed.Fields[rpc.Trailer] = map[string][]string{"x-a": {"1"}}
	damaged := &rpc.Reply{Type: "once.test.v1.Receipt", Data: []byte{0x0a}}
	for name, recorded := range map[string]*rpc.Reply{"ok": ok, "failed": failed, "damaged": damaged} {
		store := new(oncemem.Store)
		g := newGuard(t, store, nil)
		k := once.Key{Scope: oncehttp.OperationScope("RPC", testpbconnect.PaymentsChargeProcedure, "user "), ID: "k"}
		a, err := g.Begin(t.Context(), k, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Complete(recorded.Outcome()); err != nil {
			t.Fatal(err)
		}
		p := new(payments)
		r, err := charge(t, guarded(t, p, onceconnect.Config{Guard: g}), "k", &testpb.ChargeRequest{})
		var meta http.Header
		switch name {
		case "ok":
			wantOK(t, r, err)
			if r.Msg.Id != "recorded" || r.Header().Get("X-B-Bin") != "AP8" {
				t.Errorf("reply is %v %v", r.Msg, r.Header())
			}
			meta = r.Header()
		case "failed":
			wantCode(t, err, connect.CodeNotFound)
			coded, _ := errors.AsType[*connect.Error](err)
			meta = coded.Meta()
		case "damaged":
			wantInfo(t, err, connect.CodeDataLoss, "RECORD_UNREADABLE")
			meta = http.Header{"X-A": {"1"}}
		}
		if meta.Get("X-A") != "1" {
			t.Errorf("%s: metadata are %v", name, meta)
		}
		p.wantRuns(t, 0)
	}
}
