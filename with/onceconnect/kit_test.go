package onceconnect_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/retry"
	"github.com/oncehq/once/with/onceconnect"
	"github.com/oncehq/once/with/onceconnect/internal/testpb"
	"github.com/oncehq/once/with/onceconnect/internal/testpb/testpbconnect"
)

type (
	request = connect.Request[testpb.ChargeRequest]
	receipt = connect.Response[testpb.Receipt]
)

// payments is a real service whose procedures are functions.
type payments struct {
	charge func(context.Context, *request) (*receipt, error)

	mu   sync.Mutex // guards the rest
	keys []string   // that requests came with, in their order
	runs int        // of charge, under whatever procedure
}

func (p *payments) Charge(ctx context.Context, req *request) (*receipt, error) {
	p.mu.Lock()
	p.runs++
	p.mu.Unlock()
	if p.charge == nil {
		return connect.NewResponse(&testpb.Receipt{Id: "r1", Amount: req.Msg.Amount}), nil
	}
	return p.charge(ctx, req)
}

func (p *payments) Cancel(ctx context.Context, req *request) (*receipt, error) {
	return p.Charge(ctx, req)
}

func (p *payments) Lookup(ctx context.Context, req *request) (*receipt, error) {
	return p.Charge(ctx, req)
}

func (p *payments) ChargeMany(ctx context.Context, stream *connect.BidiStream[testpb.ChargeRequest, testpb.Receipt]) error {
	msg, err := stream.Receive()
	if err != nil {
		return err
	}
	r, err := p.Charge(ctx, connect.NewRequest(msg))
	if err != nil {
		return err
	}
	return stream.Send(r.Msg)
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

// serve starts a server that speaks HTTP/2, with the interceptors. So does its client.
func serve(t testing.TB, p *payments, interceptors ...connect.Interceptor) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(testpbconnect.NewPaymentsHandler(p, connect.WithInterceptors(interceptors...)))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.keys = append(p.keys, r.Header.Get("Idempotency-Key"))
		p.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true) // all protocols run over that, and no test waits for TLS
	srv.Config.Protocols = h2
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	srv.Client().Transport.(*http.Transport).Protocols = h2
	return srv
}

// guarded serves the payments guarded by the config, whose guard and scope are filled in.
func guarded(t testing.TB, p *payments, cfg onceconnect.Config) *httptest.Server {
	t.Helper()
	return serve(t, p, newServer(t, cfg))
}

func newServer(t testing.TB, cfg onceconnect.Config) *onceconnect.Server {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, new(oncemem.Store), nil)
	}
	if cfg.Scope == nil {
		cfg.Scope = func(_ context.Context, req connect.AnyRequest) (string, error) {
			switch user := req.Header().Get("User"); user {
			case "mallory":
				return "", connect.NewError(connect.CodeUnauthenticated, errors.New("who are you?"))
			case "broken":
				return "", errors.New("directory is down at 10.0.0.1")
			default:
				return "user " + user, nil
			}
		}
	}
	s, err := onceconnect.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func client(srv *httptest.Server, opts ...connect.ClientOption) testpbconnect.PaymentsClient {
	return testpbconnect.NewPaymentsClient(srv.Client(), srv.URL, opts...)
}

// retrying returns a client option with short pauses and a large budget.
func retrying(t testing.TB, cfg onceconnect.ClientConfig) connect.ClientOption {
	t.Helper()
	cfg.Retry.Base = time.Millisecond
	if cfg.Retry.Budget == nil {
		cfg.Retry.Budget = &retry.Budget{Burst: 1e6}
	}
	c, err := onceconnect.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return connect.WithInterceptors(c)
}

// newRequest returns a request with the header, given as names and values in turn.
func newRequest(msg *testpb.ChargeRequest, header ...string) *request {
	req := connect.NewRequest(msg)
	for i := 0; i < len(header); i += 2 {
		req.Header().Add(header[i], header[i+1])
	}
	return req
}

// charge calls Charge with the key and more of the header.
func charge(t testing.TB, srv *httptest.Server, key string, msg *testpb.ChargeRequest, header ...string) (*receipt, error) {
	t.Helper()
	return client(srv).Charge(t.Context(), newRequest(msg, append(header, "Idempotency-Key", key)...))
}

// A wireReply is all that came over the wire, less the date.
type wireReply struct {
	status          int
	body            []byte
	header, trailer http.Header
}

// post posts the body as it is.
func post(t *testing.T, srv *httptest.Server, key, contentType string, body []byte) wireReply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+testpbconnect.PaymentsChargeProcedure, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Te", "trailers")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Header.Del("Date")
	return wireReply{res.StatusCode, data, res.Header, res.Trailer}
}

// unmark removes the mark of a replay and reports whether there was exactly one.
func (r *wireReply) unmark() bool {
	marks := 0
	for _, h := range []http.Header{r.header, r.trailer} {
		marks += len(h["Idempotency-Replayed"])
		delete(h, "Idempotency-Replayed")
	}
	if strings.HasPrefix(r.header.Get("Content-Type"), "application/grpc-web") {
		r.body = withoutMark(r.body, &marks)
	}
	return marks == 1
}

// withoutMark removes the mark from the trailers of gRPC-Web, which are a frame of the body.
func withoutMark(body []byte, marks *int) (rest []byte) {
	mark := []byte("idempotency-replayed: true\r\n")
	for len(body) >= 5 {
		end := 5 + int(binary.BigEndian.Uint32(body[1:5]))
		frame := body[5:end]
		if body[0]&0x80 != 0 {
			*marks += bytes.Count(frame, mark)
			frame = bytes.ReplaceAll(frame, mark, nil)
		}
		rest = append(binary.BigEndian.AppendUint32(append(rest, body[0]), uint32(len(frame))), frame...)
		body = body[end:]
	}
	return rest
}

func (r wireReply) String() string {
	return fmt.Sprintf("%d\n%v\n%x\n%v", r.status, r.header, r.body, r.trailer)
}

func wantCode(t testing.TB, err error, want connect.Code) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != want {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func wantOK(t testing.TB, r *receipt, err error) {
	t.Helper()
	if err != nil || r == nil {
		t.Fatal(err)
	}
}
