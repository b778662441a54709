package oncegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/retry"
	"github.com/oncehq/once/with/oncegrpc"
	"github.com/oncehq/once/with/oncegrpc/internal/testpb"
)

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestNewClientReportsEveryProblemAtOnce(t *testing.T) {
	_, err := oncegrpc.NewClient(oncegrpc.ClientConfig{
		Header: "A b", Field: "a-b", TryTimeout: -1, Retry: retry.Policy{Tries: -1},
	})
	for _, want := range []string{"Header", "Field", "TryTimeout", "Tries"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

// retrying returns a dial option for the client, with short pauses and a large budget.
func retrying(t testing.TB, cfg oncegrpc.ClientConfig) grpc.DialOption {
	t.Helper()
	cfg.Retry.Base = time.Millisecond
	if cfg.Retry.Budget == nil {
		cfg.Retry.Budget = &retry.Budget{Burst: 1e6}
	}
	c, err := oncegrpc.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return grpc.WithChainUnaryInterceptor(c.Unary)
}

// inTurn answers the nth call by the nth error, and further ones by the last.
func inTurn(errs ...error) func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
	var mu sync.Mutex
	n := 0
	return func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		err := errs[min(n, len(errs)-1)]
		n++
		if err != nil {
			return nil, err
		}
		return &testpb.Receipt{Id: "r1"}, nil
	}
}

var errDown = status.Error(codes.Unavailable, "down")

func TestEveryTryCarriesTheSameKey(t *testing.T) {
	p := &payments{charge: inTurn(errDown, errDown, nil)}
	c := testpb.NewPaymentsClient(serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{})))
	for range 2 {
		req := &testpb.ChargeRequest{Amount: 5}
		if r, err := c.Charge(t.Context(), req); err != nil || r.Id != "r1" {
			t.Fatal(r, err)
		}
	}
	keys := p.seen()
	if len(keys) != 4 || keys[0] != keys[1] || keys[1] != keys[2] || keys[3] <= keys[2] {
		t.Errorf("keys are %q", keys)
	}
	if key := strings.Trim(keys[0], "[]"); !uuid7.MatchString(key) {
		t.Errorf("key %q is no UUID of version 7", key)
	}
}

func TestWhichCallsAreTriedAgain(t *testing.T) {
	withDelay := func(code codes.Code) error {
		st, err := status.New(code, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	for _, c := range []struct {
		method string
		err    error
		tries  int
		keyed  bool
	}{
		{"Charge", errDown, 2, true},
		{"Cancel", errDown, 2, false},
		{"Lookup", errDown, 2, false},
		{"Charge", status.Error(codes.DeadlineExceeded, "downstream"), 2, true},
		{"Charge", status.Error(codes.Aborted, "lost update"), 1, true},
		{"Charge", withDelay(codes.Aborted), 2, true},
		{"Charge", status.Error(codes.ResourceExhausted, "too large"), 1, true},
		{"Charge", withDelay(codes.ResourceExhausted), 2, true},
		{"Charge", status.Error(codes.Internal, "bug"), 1, true},
		{"Charge", status.Error(codes.FailedPrecondition, "no stock"), 1, true},
		{"Charge", errors.New("plain"), 1, true},
	} {
		p := &payments{charge: inTurn(c.err, nil)}
		conn := serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{}))
		err := conn.Invoke(t.Context(), "/once.test.v1.Payments/"+c.method, &testpb.ChargeRequest{}, new(testpb.Receipt))
		if keys := p.seen(); len(keys) != c.tries || (keys[0] != "[]") != c.keyed {
			t.Errorf("%s after %v: keys are %q, want %d tries", c.method, c.err, keys, c.tries)
		}
		if c.tries == 1 {
			if _, wrapped := errors.AsType[*retry.GiveUpError](err); wrapped || status.Code(err) != status.Code(c.err) {
				t.Errorf("error is %#v, want that of the server", err)
			}
		}
	}
	p := &payments{charge: inTurn(errDown, nil)}
	never := oncegrpc.ClientConfig{Keyed: func(string) bool { return false }}
	conn := serve(t, p, nil, nil, retrying(t, never))
	_, err := testpb.NewPaymentsClient(conn).Charge(t.Context(), &testpb.ChargeRequest{})
	wantCode(t, err, codes.Unavailable)
	if keys := p.seen(); !slices.Equal(keys, []string{"[]"}) {
		t.Errorf("a call that may not be repeated had keys %q", keys)
	}
}

func TestServersDelayIsHeeded(t *testing.T) {
	const delay = 60 * time.Millisecond
	info, err := status.New(codes.Unavailable, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	if err != nil {
		t.Fatal(err)
	}
	pushback := func(value string) func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		n := 0
		return func(ctx context.Context, _ *testpb.ChargeRequest) (*testpb.Receipt, error) {
			if n++; n > 1 {
				return &testpb.Receipt{}, nil
			}
			return nil, errors.Join(errDown, grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", value)))
		}
	}
	for name, c := range map[string]struct {
		charge func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error)
		tries  int
	}{
		"RetryInfo":           {inTurn(info.Err(), nil), 2},
		"pushback":            {pushback("60"), 2},
		"pushback: never":     {pushback("-1"), 1},
		"pushback: not known": {pushback("soon"), 1},
	} {
		p := &payments{charge: c.charge}
		var mu sync.Mutex
		var tries []oncegrpc.Try
		cfg := oncegrpc.ClientConfig{Observe: func(_ context.Context, _ string, try oncegrpc.Try) {
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, try)
		}}
		var trailer metadata.MD
		start := time.Now()
		_, err := testpb.NewPaymentsClient(serve(t, p, nil, nil, retrying(t, cfg))).Charge(t.Context(), &testpb.ChargeRequest{}, grpc.Trailer(&trailer))
		if len(tries) != c.tries || (err == nil) != (c.tries == 2) {
			t.Errorf("%s: %d tries, error %v", name, len(tries), err)
		}
		if c.tries == 2 && (tries[0].Pause < delay || time.Since(start) < delay) {
			t.Errorf("%s: pause was %v", name, tries[0].Pause)
		}
		if c.tries == 1 && len(trailer) == 0 {
			t.Errorf("%s: the caller's own trailer was not set", name)
		}
	}
}

// An answer may be that of an earlier call, be it a reply or an error; and methods that are
// idempotent by their schema have no key.
func TestTriesSayWhatTheyWere(t *testing.T) {
	p := &payments{charge: func(_ context.Context, req *testpb.ChargeRequest) (*testpb.Receipt, error) {
		if req.Amount < 0 {
			return nil, status.Error(codes.InvalidArgument, "negative")
		}
		return new(testpb.Receipt), nil
	}}
	s, err := oncegrpc.NewServer(oncegrpc.Config{Guard: newGuard(t, new(oncemem.Store), nil), DangerouslyShareKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []oncegrpc.Try
	cfg := oncegrpc.ClientConfig{Observe: func(_ context.Context, _ string, try oncegrpc.Try) { got = append(got, try) }}
	c := testpb.NewPaymentsClient(serve(t, p, []grpc.UnaryServerInterceptor{s.Unary}, nil, retrying(t, cfg)))
	for _, call := range []struct {
		key             string
		amount          int64
		keyed, replayed bool
	}{{"a", 5, true, false}, {"a", 5, true, true}, {"b", -5, true, false}, {"b", -5, true, true}, {"", 5, false, false}} {
		got = nil
		var header, trailer metadata.MD
		ctx, req, opts := t.Context(), &testpb.ChargeRequest{Amount: call.amount}, []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}
		if call.key != "" {
			c.Charge(oncegrpc.WithKey(ctx, call.key), req, opts...)
		} else {
			c.Lookup(ctx, req, opts...)
		}
		if len(got) != 1 || got[0].Keyed != call.keyed || got[0].Replayed != call.replayed {
			t.Errorf("%+v: tries are %+v", call, got)
		}
		if replayed := oncegrpc.Replayed(header) || oncegrpc.Replayed(trailer); replayed != call.replayed {
			t.Errorf("%+v: replayed is %t to the caller", call, replayed)
		}
	}
}

func TestGivingUpTellsTheKeyAndIsAStatus(t *testing.T) {
	p := &payments{charge: inTurn(errDown)}
	conn := serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{Retry: retry.Policy{Tries: 3}}))
	_, err := testpb.NewPaymentsClient(conn).Charge(oncegrpc.WithKey(t.Context(), "order 42"), &testpb.ChargeRequest{})
	gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
	if !ok || gaveUp.Key != "order 42" || gaveUp.Tries != 3 || !errors.Is(err, retry.ErrTries) {
		t.Fatalf("error is %#v", err)
	}
	wantCode(t, err, codes.Unavailable)
	if strings.Contains(err.Error(), "order 42") {
		t.Errorf("error %v tells the key", err)
	}
	if keys := p.seen(); len(keys) != 3 || keys[0] != `["order 42"]` {
		t.Errorf("keys are %q, want one in quotes, for it has a space", keys)
	}
}

func TestAnEndedContextTellsTheKey(t *testing.T) {
	release := make(chan bool)
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		<-release
		return &testpb.Receipt{}, nil
	}}
	conn := serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{}))
	ctx, cancel := context.WithTimeout(oncegrpc.WithKey(t.Context(), "k"), 50*time.Millisecond)
	defer cancel()
	_, err := testpb.NewPaymentsClient(conn).Charge(ctx, &testpb.ChargeRequest{})
	close(release)
	gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
	if !ok || gaveUp.Key != "k" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %#v", err)
	}
	wantCode(t, err, codes.DeadlineExceeded)
}

func TestATryWithoutReplyTimesOut(t *testing.T) {
	release := make(chan bool)
	var once sync.Once
	p := &payments{charge: func(context.Context, *testpb.ChargeRequest) (*testpb.Receipt, error) {
		first := false
		once.Do(func() { first = true })
		if first {
			<-release
		}
		return &testpb.Receipt{Id: "r1"}, nil
	}}
	conn := serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{TryTimeout: 50 * time.Millisecond, Retry: retry.Policy{Tries: 50}}))
	_, err := testpb.NewPaymentsClient(conn).Charge(t.Context(), &testpb.ChargeRequest{})
	close(release)
	wantCode(t, err, codes.OK)
	if keys := p.seen(); len(keys) < 2 || keys[0] != keys[1] {
		t.Errorf("keys are %q", keys)
	}
}

func TestWhereTheKeyIsSent(t *testing.T) {
	field := oncegrpc.ClientConfig{Field: "request_id"}
	for _, c := range []struct {
		name string
		cfg  oncegrpc.ClientConfig
		ctx  context.Context
		req  *testpb.ChargeRequest
		want string
	}{
		{"by context", oncegrpc.ClientConfig{}, oncegrpc.WithKey(t.Context(), "mine"), new(testpb.ChargeRequest), "[mine]"},
		{"in metadata", oncegrpc.ClientConfig{}, metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "mine"), new(testpb.ChargeRequest), "[mine]"},
		{"in the field", field, oncegrpc.WithKey(t.Context(), "mine"), new(testpb.ChargeRequest), "[] field mine"},
		{"in the field, by the caller", field, oncegrpc.WithKey(t.Context(), "other"), &testpb.ChargeRequest{RequestId: "mine"}, "[] field mine"},
		{"without the field", oncegrpc.ClientConfig{Field: "amount"}, oncegrpc.WithKey(t.Context(), "mine"), new(testpb.ChargeRequest), "[mine]"},
	} {
		p := &payments{charge: inTurn(errDown, nil)}
		before := c.req.RequestId
		_, err := testpb.NewPaymentsClient(serve(t, p, nil, nil, retrying(t, c.cfg))).Charge(c.ctx, c.req)
		wantCode(t, err, codes.OK)
		if keys := p.seen(); !slices.Equal(keys, []string{c.want, c.want}) {
			t.Errorf("%s: keys are %q, want %q twice", c.name, keys, c.want)
		}
		if c.req.RequestId != before {
			t.Errorf("%s: the caller's request was changed", c.name)
		}
	}
	for _, key := range []string{"", "ü", "a\nb", strings.Repeat("k", 256)} {
		p := new(payments)
		conn := serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{}))
		_, err := testpb.NewPaymentsClient(conn).Charge(oncegrpc.WithKey(t.Context(), key), new(testpb.ChargeRequest))
		wantCode(t, err, codes.InvalidArgument)
		if len(p.seen()) != 0 {
			t.Errorf("a call with key %q was sent", key)
		}
	}
}

func TestARerunRepeatsTheKeysOfItsCalls(t *testing.T) {
	p := new(payments)
	c := testpb.NewPaymentsClient(serve(t, p, nil, nil, retrying(t, oncegrpc.ClientConfig{})))
	g := newGuard(t, new(oncemem.Store), func(cfg *once.Config) { cfg.InDoubt = once.Rerun; cfg.DangerouslyTrustStore = false })
	broken := errors.New("connection reset")
	for range 2 {
		_, err := once.Do(t.Context(), g, once.Key{Scope: "s", ID: "1"}, once.Fingerprint{}, func(ctx context.Context) (int, error) {
			for range 2 {
				if _, err := c.Charge(ctx, new(testpb.ChargeRequest)); err != nil {
					return 0, err
				}
			}
			_, err := c.Charge(oncegrpc.WithName(ctx, "tip"), new(testpb.ChargeRequest))
			return 0, errors.Join(err, broken)
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	keys := p.seen()
	if len(keys) != 6 || !slices.Equal(keys[:3], keys[3:]) || keys[0] == keys[1] || keys[2] == keys[0] || keys[2] == keys[1] {
		t.Errorf("keys are %q", keys)
	}
}

// The point of it all: whatever happens to replies, the effect happens once and the caller gets
// its outcome.
func TestClientAndServerMakeOneEffect(t *testing.T) {
	var mu sync.Mutex
	effects := make(map[string]int)
	p := &payments{charge: func(_ context.Context, req *testpb.ChargeRequest) (*testpb.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		id := fmt.Sprint("charge ", req.Amount)
		effects[id]++
		return &testpb.Receipt{Id: id}, nil
	}}
	s, err := oncegrpc.NewServer(oncegrpc.Config{
		Guard:                newGuard(t, new(oncemem.Store), func(cfg *once.Config) { cfg.Wait = time.Minute }),
		DangerouslyShareKeys: true,
		Required:             true,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	lossy := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		mu.Lock()
		n++
		turn := n % 3
		mu.Unlock()
		switch turn {
		case 1:
			return nil, errDown // the request was lost
		case 2:
			handler(ctx, req)
			return nil, errDown // the reply was lost
		}
		return handler(ctx, req)
	}
	conn := serve(t, p, []grpc.UnaryServerInterceptor{lossy, s.Unary}, nil, retrying(t, oncegrpc.ClientConfig{Retry: retry.Policy{Tries: 100}}))
	c := testpb.NewPaymentsClient(conn)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r, err := c.Charge(t.Context(), &testpb.ChargeRequest{Amount: int64(i)})
			if want := fmt.Sprint("charge ", i); err != nil || r.Id != want {
				t.Errorf("reply is %v, %v, want %s", r, err, want)
			}
		})
	}
	wg.Wait()
	if len(effects) != 20 {
		t.Errorf("%d charges took effect, want 20", len(effects))
	}
	for id, n := range effects {
		if n != 1 {
			t.Errorf("%s took effect %d times", id, n)
		}
	}
}
