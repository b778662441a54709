package onceconnect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/retry"
	"github.com/oncehq/once/with/onceconnect"
	"github.com/oncehq/once/with/onceconnect/internal/testpb"
)

var quotedUUID7 = regexp.MustCompile(`^"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`)

func TestNewClientReportsEveryProblemAtOnce(t *testing.T) {
	_, err := onceconnect.NewClient(onceconnect.ClientConfig{
		Header: "A b", Field: "a-b", TryTimeout: -1, Retry: retry.Policy{Tries: -1},
	})
	for _, want := range []string{"Header", "Field", "TryTimeout", "Tries"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

// inTurn answers the nth call by the nth error, and further ones by the last.
func inTurn(errs ...error) func(context.Context, *request) (*receipt, error) {
	var mu sync.Mutex
	n := 0
	return func(context.Context, *request) (*receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		err := errs[min(n, len(errs)-1)]
		n++
		if err != nil {
			return nil, err
		}
		return connect.NewResponse(&testpb.Receipt{Id: "r1"}), nil
	}
}

func coded(code connect.Code, details ...*anypb.Any) *connect.Error {
	err := connect.NewError(code, errors.New("because"))
	for _, d := range details {
		detail, bad := connect.NewErrorDetail(d)
		if bad != nil {
			panic(bad)
		}
		err.AddDetail(detail)
	}
	return err
}

// retryInfo is a google.rpc.RetryInfo of 60 ms.
func retryInfo() *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/google.rpc.RetryInfo", Value: []byte{0x0a, 5, 0x10, 0x80, 0x8e, 0xce, 0x1c}}
}

// hangUp breaks the connection.
func hangUp(context.Context, *request) (*receipt, error) { panic(http.ErrAbortHandler) }

func then(first, later func(context.Context, *request) (*receipt, error)) func(context.Context, *request) (*receipt, error) {
	var once sync.Once
	return func(ctx context.Context, req *request) (*receipt, error) {
		f := later
		once.Do(func() { f = first })
		return f(ctx, req)
	}
}

func protocols() map[string][]connect.ClientOption {
	return map[string][]connect.ClientOption{
		"Connect": nil, "JSON": {connect.WithProtoJSON()}, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()},
	}
}

func TestEveryTryCarriesTheSameKey(t *testing.T) {
	for name, opts := range protocols() {
		down := coded(connect.CodeUnavailable)
		p := &payments{charge: then(hangUp, inTurn(down, down, nil))}
		c := client(serve(t, p), append(opts, retrying(t, onceconnect.ClientConfig{}))...)
		req := newRequest(&testpb.ChargeRequest{Amount: 5}, "A", "1")
		for range 2 { // a request may be used again, for another operation
			r, err := c.Charge(t.Context(), req)
			wantOK(t, r, err)
		}
		keys := p.seen()
		if len(keys) != 5 || keys[0] != keys[1] || keys[1] != keys[2] || keys[2] != keys[3] || keys[4] <= keys[3] {
			t.Errorf("%s: keys are %q", name, keys)
		}
		if !quotedUUID7.MatchString(keys[0]) {
			t.Errorf("%s: key %s is no UUID of version 7 in quotes", name, keys[0])
		}
		if len(req.Header()["A"]) != 1 || len(req.Header()["Idempotency-Key"]) != 0 {
			t.Errorf("%s: the caller's header became %v", name, req.Header())
		}
	}
}

func TestWhichCallsAreTriedAgain(t *testing.T) {
	for _, c := range []struct {
		procedure string
		err       error
		tries     int
		keyed     bool
	}{
		{"Charge", coded(connect.CodeUnavailable), 2, true},
		{"Cancel", coded(connect.CodeUnavailable), 2, false},
		{"Lookup", coded(connect.CodeUnavailable), 2, false},
		{"Charge", coded(connect.CodeDeadlineExceeded), 2, true},
		{"Charge", coded(connect.CodeAborted), 1, true},
		{"Charge", coded(connect.CodeAborted, retryInfo()), 2, true},
		{"Charge", coded(connect.CodeResourceExhausted), 1, true},
		{"Charge", coded(connect.CodeResourceExhausted, retryInfo()), 2, true},
		{"Charge", coded(connect.CodeInternal), 1, true},
		{"Charge", coded(connect.CodeFailedPrecondition), 1, true},
		{"Charge", errors.New("plain"), 1, true},
	} {
		p := &payments{charge: inTurn(c.err, nil)}
		pc := client(serve(t, p), retrying(t, onceconnect.ClientConfig{}))
		call := map[string]func(context.Context, *request) (*receipt, error){"Charge": pc.Charge, "Cancel": pc.Cancel, "Lookup": pc.Lookup}
		_, err := call[c.procedure](t.Context(), newRequest(&testpb.ChargeRequest{}))
		if keys := p.seen(); len(keys) != c.tries || (keys[0] != "") != c.keyed {
			t.Errorf("%s after %v: keys are %q, want %d tries", c.procedure, c.err, keys, c.tries)
		}
		if c.tries == 1 {
			if _, wrapped := errors.AsType[*retry.GiveUpError](err); wrapped || connect.CodeOf(err) != connect.CodeOf(c.err) {
				t.Errorf("error is %#v, want that of the server", err)
			}
		}
	}
	p := &payments{charge: inTurn(coded(connect.CodeUnavailable), nil)}
	never := onceconnect.ClientConfig{Keyed: func(connect.Spec) bool { return false }}
	_, err := client(serve(t, p), retrying(t, never)).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}))
	wantCode(t, err, connect.CodeUnavailable)
	if keys := p.seen(); !slices.Equal(keys, []string{""}) {
		t.Errorf("a call that may not be repeated had keys %q", keys)
	}
}

// What is between client and service answers by HTTP alone.
func TestAnswersOfProxies(t *testing.T) {
	for _, c := range []struct{ status, tries int }{{500, 2}, {502, 2}, {503, 2}, {504, 2}, {429, 2}, {403, 1}, {404, 1}} {
		p := new(payments)
		service := serve(t, p)
		n := 0
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n++; n == 1 {
				http.Error(w, "<html>", c.status)
				return
			}
			service.Config.Handler.ServeHTTP(w, r)
		}))
		_, err := client(proxy, retrying(t, onceconnect.ClientConfig{})).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}))
		proxy.Close()
		if n != c.tries || (err == nil) != (c.tries == 2) {
			t.Errorf("%d: %d tries, error %v", c.status, n, err)
		}
	}
}

func TestServersDelayIsHeeded(t *testing.T) {
	withMeta := func(name, value string) *connect.Error {
		err := coded(connect.CodeUnavailable)
		err.Meta().Set(name, value)
		return err
	}
	for name, c := range map[string]struct {
		err   error
		pause time.Duration
		tries int
	}{
		"RetryInfo":       {coded(connect.CodeUnavailable, retryInfo()), 60 * time.Millisecond, 2},
		"Retry-After":     {withMeta("Retry-After", "1"), time.Second, 2},
		"pushback":        {withMeta("Grpc-Retry-Pushback-Ms", "60"), 60 * time.Millisecond, 2},
		"pushback: never": {withMeta("Grpc-Retry-Pushback-Ms", "-1"), 0, 1},
	} {
		p := &payments{charge: inTurn(c.err, nil)}
		var tries []onceconnect.Try
		cfg := onceconnect.ClientConfig{Observe: func(_ context.Context, spec connect.Spec, try onceconnect.Try) {
			if !strings.HasSuffix(spec.Procedure, "/Charge") {
				t.Errorf("procedure is %s", spec.Procedure)
			}
			tries = append(tries, try)
		}}
		start := time.Now()
		_, err := client(serve(t, p), retrying(t, cfg)).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}))
		if len(tries) != c.tries || (err == nil) != (c.tries == 2) {
			t.Errorf("%s: %d tries, error %v", name, len(tries), err)
		}
		if c.tries == 2 && (tries[0].Pause < c.pause || time.Since(start) < c.pause) {
			t.Errorf("%s: pause was %v", name, tries[0].Pause)
		}
	}
}

// An answer may be that of an earlier call, be it a reply or an error; and methods that are
// idempotent by their schema have no key.
func TestTriesSayWhatTheyWere(t *testing.T) {
	p := &payments{charge: func(_ context.Context, req *request) (*receipt, error) {
		if req.Msg.Amount < 0 {
			return nil, coded(connect.CodeInvalidArgument)
		}
		return connect.NewResponse(new(testpb.Receipt)), nil
	}}
	var got []onceconnect.Try
	cfg := onceconnect.ClientConfig{Observe: func(_ context.Context, _ connect.Spec, try onceconnect.Try) { got = append(got, try) }}
	c := client(guarded(t, p, onceconnect.Config{}), retrying(t, cfg))
	for _, call := range []struct {
		key             string
		amount          int64
		keyed, replayed bool
	}{{"a", 5, true, false}, {"a", 5, true, true}, {"b", -5, true, false}, {"b", -5, true, true}, {"", 5, false, false}} {
		got = nil
		ctx, req := t.Context(), newRequest(&testpb.ChargeRequest{Amount: call.amount})
		if call.key != "" {
			c.Charge(onceconnect.WithKey(ctx, call.key), req)
		} else {
			c.Lookup(ctx, req)
		}
		if len(got) != 1 || got[0].Keyed != call.keyed || got[0].Replayed != call.replayed {
			t.Errorf("%+v: tries are %+v", call, got)
		}
	}
}

func TestGivingUpTellsTheKeyAndHasACode(t *testing.T) {
	p := &payments{charge: inTurn(coded(connect.CodeUnavailable))}
	c := client(serve(t, p), retrying(t, onceconnect.ClientConfig{Retry: retry.Policy{Tries: 3}}))
	_, err := c.Charge(onceconnect.WithKey(t.Context(), "order 42"), newRequest(&testpb.ChargeRequest{}))
	gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
	if !ok || gaveUp.Key != "order 42" || gaveUp.Tries != 3 || !errors.Is(err, retry.ErrTries) {
		t.Fatalf("error is %#v", err)
	}
	wantCode(t, err, connect.CodeUnavailable)
	if strings.Contains(err.Error(), "order 42") {
		t.Errorf("error %v tells the key", err)
	}
	if keys := p.seen(); len(keys) != 3 || keys[0] != `"order 42"` {
		t.Errorf("keys are %q", keys)
	}
}

// A caller that gave up goes on later with the key, and may use the request again for that.
func TestAnEndedContextTellsTheKey(t *testing.T) {
	release := make(chan bool)
	p := &payments{charge: then(func(context.Context, *request) (*receipt, error) {
		<-release
		return nil, coded(connect.CodeUnavailable)
	}, inTurn(nil))}
	c := client(serve(t, p), retrying(t, onceconnect.ClientConfig{}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req := newRequest(&testpb.ChargeRequest{})
	_, err := c.Charge(ctx, req)
	close(release)
	gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %#v", err)
	}
	wantCode(t, err, connect.CodeDeadlineExceeded)
	r, err := c.Charge(onceconnect.WithKey(t.Context(), gaveUp.Key), req)
	wantOK(t, r, err)
	keys := p.seen()
	if last := keys[len(keys)-1]; last != `"`+gaveUp.Key+`"` {
		t.Errorf("keys are %q, want that of the error", keys)
	}
}

func TestATryWithoutReplyTimesOut(t *testing.T) {
	release := make(chan bool)
	p := &payments{charge: then(func(context.Context, *request) (*receipt, error) {
		<-release
		return nil, coded(connect.CodeUnavailable)
	}, inTurn(nil))}
	// The first connection of a test takes long.
	cfg := onceconnect.ClientConfig{TryTimeout: 200 * time.Millisecond, Retry: retry.Policy{Tries: 50}}
	r, err := client(serve(t, p), retrying(t, cfg)).Charge(t.Context(), newRequest(&testpb.ChargeRequest{}))
	close(release)
	wantOK(t, r, err)
	if keys := p.seen(); len(keys) < 2 || keys[0] != keys[1] {
		t.Errorf("keys are %q", keys)
	}
}

func TestWhereTheKeyIsSent(t *testing.T) {
	field := onceconnect.ClientConfig{Field: "request_id"}
	mine := onceconnect.WithKey(t.Context(), "mine")
	for _, c := range []struct {
		name   string
		cfg    onceconnect.ClientConfig
		ctx    context.Context
		req    *request
		header string
		field  string
	}{
		{"by context", onceconnect.ClientConfig{}, mine, newRequest(&testpb.ChargeRequest{}), `"mine"`, ""},
		{"bare", onceconnect.ClientConfig{Bare: true}, mine, newRequest(&testpb.ChargeRequest{}), "mine", ""},
		{"in the header", onceconnect.ClientConfig{}, onceconnect.WithKey(t.Context(), "other"), newRequest(&testpb.ChargeRequest{}, "Idempotency-Key", "mine"), "mine", ""},
		{"in the field", field, mine, newRequest(&testpb.ChargeRequest{}), "", "mine"},
		{"in the field, by the caller", field, onceconnect.WithKey(t.Context(), "other"), newRequest(&testpb.ChargeRequest{RequestId: "mine"}), "", "mine"},
		{"without the field", onceconnect.ClientConfig{Field: "amount"}, mine, newRequest(&testpb.ChargeRequest{}), `"mine"`, ""},
	} {
		down := inTurn(coded(connect.CodeUnavailable), nil)
		var fields []string
		p := &payments{charge: func(ctx context.Context, req *request) (*receipt, error) {
			fields = append(fields, req.Msg.RequestId)
			return down(ctx, req)
		}}
		before := c.req.Msg.RequestId
		r, err := client(serve(t, p), retrying(t, c.cfg)).Charge(c.ctx, c.req)
		wantOK(t, r, err)
		if keys := p.seen(); !slices.Equal(keys, []string{c.header, c.header}) || !slices.Equal(fields, []string{c.field, c.field}) {
			t.Errorf("%s: keys are %q and %q, want %q and %q twice", c.name, keys, fields, c.header, c.field)
		}
		if c.req.Msg.RequestId != before {
			t.Errorf("%s: the caller's request was changed", c.name)
		}
	}
	for key, cfg := range map[string]onceconnect.ClientConfig{
		"": {}, "ü": {}, "a\nb": {}, strings.Repeat("k", 256): {}, "a b": {Bare: true},
	} {
		p := new(payments)
		_, err := client(serve(t, p), retrying(t, cfg)).Charge(onceconnect.WithKey(t.Context(), key), newRequest(&testpb.ChargeRequest{}))
		wantCode(t, err, connect.CodeInvalidArgument)
		if len(p.seen()) != 0 {
			t.Errorf("a call with key %q was sent", key)
		}
	}
}

func TestARerunRepeatsTheKeysOfItsCalls(t *testing.T) {
	p := new(payments)
	c := client(serve(t, p), retrying(t, onceconnect.ClientConfig{}))
	g := newGuard(t, new(oncemem.Store), func(cfg *once.Config) { cfg.InDoubt = once.Rerun; cfg.DangerouslyTrustStore = false })
	broken := errors.New("connection reset")
	for range 2 {
		_, err := once.Do(t.Context(), g, once.Key{Scope: "s", ID: "1"}, once.Fingerprint{}, func(ctx context.Context) (int, error) {
			for range 2 {
				if _, err := c.Charge(ctx, newRequest(&testpb.ChargeRequest{})); err != nil {
					return 0, err
				}
			}
			_, err := c.Charge(onceconnect.WithName(ctx, "tip"), newRequest(&testpb.ChargeRequest{}))
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
	for name, opts := range protocols() {
		var mu sync.Mutex
		effects := make(map[string]int)
		p := &payments{charge: func(_ context.Context, req *request) (*receipt, error) {
			mu.Lock()
			defer mu.Unlock()
			id := fmt.Sprint("charge ", req.Msg.Amount)
			effects[id]++
			return connect.NewResponse(&testpb.Receipt{Id: id}), nil
		}}
		n := 0
		lossy := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				mu.Lock()
				n++
				turn := n % 3
				mu.Unlock()
				switch turn {
				case 1:
					panic(http.ErrAbortHandler) // the request was lost
				case 2:
					next(ctx, req)
					panic(http.ErrAbortHandler) // the reply was lost
				}
				return next(ctx, req)
			}
		})
		srv := serve(t, p, lossy, newServer(t, onceconnect.Config{
			Guard:    newGuard(t, new(oncemem.Store), func(cfg *once.Config) { cfg.Wait = time.Minute }),
			Required: true,
		}))
		c := client(srv, append(opts, retrying(t, onceconnect.ClientConfig{Retry: retry.Policy{Tries: 100}}))...)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				r, err := c.Charge(t.Context(), newRequest(&testpb.ChargeRequest{Amount: int64(i)}))
				if want := fmt.Sprint("charge ", i); err != nil || r.Msg.Id != want {
					t.Errorf("%s: reply is %v, %v, want %s", name, r, err, want)
				}
			})
		}
		wg.Wait()
		if len(effects) != 10 {
			t.Errorf("%s: %d charges took effect, want 10", name, len(effects))
		}
		for id, n := range effects {
			if n != 1 {
				t.Errorf("%s: %s took effect %d times", name, id, n)
			}
		}
	}
}
