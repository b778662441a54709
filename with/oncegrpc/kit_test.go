package oncegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/with/oncegrpc"
	"github.com/oncehq/once/with/oncegrpc/internal/testpb"
)

// payments is a real service whose methods are functions.
type payments struct {
	testpb.UnimplementedPaymentsServer
	charge func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error)

	mu   sync.Mutex // guards the rest
	keys []string   // that calls came with, in their order
	runs int        // of charge, under whatever method
}

func (p *payments) Charge(ctx context.Context, req *testpb.ChargeRequest) (*testpb.Receipt, error) {
	p.mu.Lock()
	p.runs++
	p.mu.Unlock()
	if p.charge == nil {
		return &testpb.Receipt{Id: "r1", Amount: req.Amount}, nil
	}
	return p.charge(ctx, req)
}

func (p *payments) Cancel(ctx context.Context, req *testpb.ChargeRequest) (*testpb.Receipt, error) {
	return p.Charge(ctx, req)
}

func (p *payments) Lookup(ctx context.Context, req *testpb.ChargeRequest) (*testpb.Receipt, error) {
	return p.Charge(ctx, req)
}

func (p *payments) ChargeMany(stream grpc.BidiStreamingServer[testpb.ChargeRequest, testpb.Receipt]) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	r, err := p.Charge(stream.Context(), req)
	if err != nil {
		return err
	}
	return stream.Send(r)
}

// note notes the key of a call, before any interceptor of ours.
func (p *payments) note(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	key := fmt.Sprint(md["idempotency-key"])
	if r, ok := req.(*testpb.ChargeRequest); ok && r.RequestId != "" {
		key += " field " + r.RequestId
	}
	p.mu.Lock()
	p.keys = append(p.keys, key)
	p.mu.Unlock()
	return handler(ctx, req)
}

func (p *payments) wantRuns(t *testing.T, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs != want {
		t.Errorf("handler was run %d times, want %d", p.runs, want)
	}
}

func (p *payments) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.keys)
}

func newGuard(t testing.TB, store once.Store, change func(*once.Config)) *once.Guard {
	t.Helper()
	cfg := once.Config{Store: store, InDoubt: once.Hold, DangerouslyTrustStore: true}
	if change != nil {
		change(&cfg)
	}
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// serve starts a server over pipes and returns a connection to it. interceptors come between note
// and the service.
func serve(t testing.TB, p *payments, interceptors []grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{p.note}, interceptors...)...),
		grpc.WaitForHandlers(true),
	}
	if stream != nil {
		options = append(options, grpc.StreamInterceptor(stream))
	}
	srv := grpc.NewServer(options...)
	testpb.RegisterPaymentsServer(srv, p)
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) })
	opts = append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	conn, err := grpc.NewClient("passthrough:pipe", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		wg.Wait()
	})
	return conn
}

// guarded serves the payments guarded by the config, whose guard and scope are filled in.
func guarded(t testing.TB, p *payments, cfg oncegrpc.Config, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, new(oncemem.Store), nil)
	}
	if cfg.Scope == nil {
		cfg.Scope = func(ctx context.Context) (string, error) {
			user := metadata.ValueFromIncomingContext(ctx, "user")
			if len(user) == 1 && user[0] == "mallory" {
				return "", status.Error(codes.Unauthenticated, "who are you?")
			}
			if len(user) == 1 && user[0] == "broken" {
				return "", errors.New("directory is down at 10.0.0.1")
			}
			return "user " + fmt.Sprint(user), nil
		}
	}
	s, err := oncegrpc.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, p, []grpc.UnaryServerInterceptor{s.Unary}, s.Stream, opts...)
}

// A wireReply is all that came over the wire.
type wireReply struct {
	data            []byte
	status          []byte
	header, trailer metadata.MD
	err             error
}

// rawCodec leaves messages as they are on the wire.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*[]byte); ok {
		*raw = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// charge calls Charge with the key, if it is not empty, and metadata in turn.
func charge(t testing.TB, conn *grpc.ClientConn, key string, req *testpb.ChargeRequest, md ...string) wireReply {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), md...)
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
	}
	var r wireReply
	r.err = conn.Invoke(ctx, testpb.Payments_Charge_FullMethodName, req, &r.data,
		grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")}), grpc.Header(&r.header), grpc.Trailer(&r.trailer))
	r.status = []byte(fmt.Sprint(r.trailer["grpc-status-details-bin"]))
	return r
}

func (r wireReply) replayed() bool {
	mark := r.header
	if r.err != nil {
		mark = r.trailer
	}
	return slices.Equal(mark[oncegrpc.ReplayHeader], []string{"true"})
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("code is %v (%v), want %v", got, err, want)
	}
}
