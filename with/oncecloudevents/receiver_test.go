package oncecloudevents_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncecloudevents"
)

var errNet = errors.New("connection reset")

func newReceiver(t testing.TB, cfg oncecloudevents.Config) *oncecloudevents.Receiver {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, new(oncemem.Store))
	}
	cfg.Consumer.Subscriber = "billing"
	cfg.Consumer.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	r, err := oncecloudevents.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newGuard(t testing.TB, s once.Store) *once.Guard {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, MaxAttempts: 3})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newEvent(source, id string) cloudevents.Event {
	e := cloudevents.NewEvent()
	e.SetSource(source)
	e.SetID(id)
	e.SetType("order.placed")
	e.SetData(cloudevents.ApplicationJSON, []byte(`{"euros": 7}`))
	return e
}

// serve returns the address of a receiver over HTTP.
func serve(t *testing.T, fn any) string {
	t.Helper()
	p, err := cloudevents.NewHTTP()
	if err != nil {
		t.Fatal(err)
	}
	h, err := cloudevents.NewHTTPReceiveHandler(t.Context(), p, fn)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// post sends an event in binary mode.
func post(t *testing.T, url string, e cloudevents.Event, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(e.Data()))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": e.DataContentType(), "ce-specversion": "1.0", "ce-id": e.ID(), "ce-source": e.Source(), "ce-type": e.Type(),
	} {
		req.Header.Set(name, value)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestEventIsHandledOnceOverHTTP(t *testing.T) {
	var calls []string
	fails := 1
	r := newReceiver(t, oncecloudevents.Config{Result: oncecloudevents.HTTPResult})
	url := serve(t, r.Receive(func(_ context.Context, e cloudevents.Event) error {
		calls = append(calls, e.Source()+" "+e.ID())
		if fails--; fails == 0 {
			return errNet
		}
		return nil
	}))
	for i, want := range []int{503, 200, 200} {
		if code, _, _ := post(t, url, newEvent("/a", "1")); code != want {
			t.Errorf("delivery %d: status %d, want %d", i, code, want)
		}
	}
	post(t, url, newEvent("/b", "1")) // an id means nothing without its source
	post(t, url, newEvent("/a", "2"))
	if got := fmt.Sprint(calls); got != "[/a 1 /a 1 /b 1 /a 2]" {
		t.Errorf("handled %s", got)
	}
}

func TestReplyIsTheSameForEachCopy(t *testing.T) {
	calls := 0
	r := newReceiver(t, oncecloudevents.Config{})
	url := serve(t, r.Reply(func(_ context.Context, e cloudevents.Event) (*cloudevents.Event, error) {
		calls++
		reply := cloudevents.NewEvent()
		reply.SetSource("/billing")
		reply.SetType("order.billed")
		reply.SetExtension("sequence", 7)
		return &reply, reply.SetData("text/plain", fmt.Appendf(nil, "bill %d \x00\xff of %s", calls, e.ID()))
	}))
	_, header, body := post(t, url, newEvent("/a", "1"))
	if body != "bill 1 \x00\xff of 1" || header.Get("Ce-Id") == "" || header.Get("Ce-Type") != "order.billed" || header.Get("Ce-Sequence") != "7" {
		t.Fatalf("reply is %q with %v", body, header)
	}
	_, again, bodyAgain := post(t, url, newEvent("/a", "1"))
	for _, h := range []http.Header{header, again} {
		h.Del("Date")
	}
	if bodyAgain != body || fmt.Sprint(again) != fmt.Sprint(header) {
		t.Errorf("copy was told %q with %v; want %q with %v", bodyAgain, again, body, header)
	}
	_, other, bodyOther := post(t, url, newEvent("/a", "2"))
	if bodyOther == body || other.Get("Ce-Id") == header.Get("Ce-Id") {
		t.Errorf("another event was told %q with %v", bodyOther, other)
	}
	if calls != 2 {
		t.Errorf("handled %d times", calls)
	}
}

func TestNoReplyIsNoReply(t *testing.T) {
	calls := 0
	r := newReceiver(t, oncecloudevents.Config{})
	h := r.Reply(func(context.Context, cloudevents.Event) (*cloudevents.Event, error) { calls++; return nil, nil })
	for range 2 {
		if reply, res := h(t.Context(), newEvent("/a", "1")); reply != nil || !protocol.IsACK(res) {
			t.Errorf("reply is %v, result %v", reply, res)
		}
	}
	if calls != 1 {
		t.Errorf("handled %d times", calls)
	}
}

// A reply that could not be given again is not given the first time either.
func TestReplyThatIsNoEventIsRejected(t *testing.T) {
	r := newReceiver(t, oncecloudevents.Config{})
	calls := 0
	h := r.Reply(func(context.Context, cloudevents.Event) (*cloudevents.Event, error) {
		calls++
		e := cloudevents.NewEvent() // without a source
		return &e, nil
	})
	for range 2 {
		reply, res := h(t.Context(), newEvent("/a", "1"))
		e, ok := errors.AsType[*oncemsg.Error](res)
		if !ok || e.Decision.Kind != oncemsg.Rejected || reply != nil || calls != 1 {
			t.Errorf("reply is %v, result %v, after %d calls", reply, res, calls)
		}
	}
}

// In the mode that may lose, the first event is answered, and nothing is kept.
func TestDropOnlyAnswersTheFirst(t *testing.T) {
	r := newReceiver(t, oncecloudevents.Config{Consumer: oncemsg.Config{Mode: oncemsg.DropOnlyMayLose}})
	calls := 0
	for _, id := range []string{"", "answer"} {
		h := r.Reply(func(context.Context, cloudevents.Event) (*cloudevents.Event, error) {
			calls++
			e := newEvent("/b", id)
			return &e, nil
		})
		e := newEvent("/a", "of "+id)
		if reply, res := h(t.Context(), e); !protocol.IsACK(res) || reply == nil || reply.ID() == "" || id != "" && reply.ID() != id {
			t.Errorf("reply is %v, result %v", reply, res)
		}
		if reply, res := h(t.Context(), e); !protocol.IsACK(res) || reply != nil {
			t.Errorf("a copy's reply is %v, result %v", reply, res)
		}
	}
	if calls != 2 {
		t.Errorf("handled %d times", calls)
	}
}

func TestOutputsGoToThePublisherAndTheReplyBack(t *testing.T) {
	var published []string
	r := newReceiver(t, oncecloudevents.Config{Consumer: oncemsg.Config{
		Publish: func(_ context.Context, outputs []oncemsg.Output) error {
			for _, o := range outputs {
				published = append(published, o.To)
			}
			return nil
		},
	}})
	h := r.Reply(func(ctx context.Context, e cloudevents.Event) (*cloudevents.Event, error) {
		if err := oncemsg.Emit(ctx, oncemsg.Output{To: "ledger"}); err != nil {
			return nil, err
		}
		reply := newEvent("/billing", "r")
		return &reply, nil
	})
	reply, res := h(t.Context(), newEvent("/a", "1"))
	if !protocol.IsACK(res) || reply == nil || reply.ID() != "r" || string(reply.Data()) != `{"euros": 7}` || fmt.Sprint(published) != "[ledger]" {
		t.Errorf("reply is %v, published %v, result %v", reply, published, res)
	}
	silent := newReceiver(t, oncecloudevents.Config{})
	emits := func(ctx context.Context, e cloudevents.Event) error { return oncemsg.Emit(ctx, oncemsg.Output{}) }
	if res := silent.Receive(emits)(t.Context(), newEvent("/a", "1")); !protocol.IsNACK(res) {
		t.Errorf("emitted to nobody: %v", res)
	}
}

func TestResultSaysWhetherToSendAgain(t *testing.T) {
	r := newReceiver(t, oncecloudevents.Config{Result: oncecloudevents.HTTPResult})
	fail := r.Receive(func(context.Context, cloudevents.Event) error { return errNet })
	for i, want := range []int{503, 503, 422, 422} {
		res := fail(t.Context(), newEvent("/a", "1"))
		status, ok := errors.AsType[*cehttp.Result](res)
		if !ok || status.StatusCode != want || !protocol.IsNACK(res) {
			t.Errorf("delivery %d: %v, want %d", i, res, want)
		}
	}
	plain := newReceiver(t, oncecloudevents.Config{})
	res := plain.Receive(func(context.Context, cloudevents.Event) error { return once.Final(errNet) })(t.Context(), newEvent("/a", "1"))
	if !protocol.IsNACK(res) || !errors.Is(res, errNet) || !strings.Contains(res.Error(), "rejected") {
		t.Errorf("result is %v", res)
	}
}

// In the SDK an acknowledgement is an error too.
func TestResultsThatAreSuccessesAreDone(t *testing.T) {
	for i, res := range []error{nil, cloudevents.ResultACK, cloudevents.NewHTTPResult(202, "accepted")} {
		r := newReceiver(t, oncecloudevents.Config{})
		calls := 0
		h := r.Receive(func(context.Context, cloudevents.Event) error { calls++; return res })
		h(t.Context(), newEvent("/a", "1"))
		if got := h(t.Context(), newEvent("/a", "1")); !protocol.IsACK(got) || calls != 1 {
			t.Errorf("result %d: handled %d times, then %v", i, calls, got)
		}
	}
	for i, res := range []error{cloudevents.ResultNACK, cloudevents.NewHTTPResult(500, "no"), errNet} {
		r := newReceiver(t, oncecloudevents.Config{})
		if got := r.Receive(func(context.Context, cloudevents.Event) error { return res })(t.Context(), newEvent("/a", "1")); !protocol.IsNACK(got) {
			t.Errorf("failure %d was acknowledged: %v", i, got)
		}
	}
}

// The same event has the same key by whatever way it comes.
func TestKeyIsThatOfTheBrokersHeaders(t *testing.T) {
	c, err := oncemsg.New(oncemsg.Config{Guard: newGuard(t, new(oncemem.Store)), Subscriber: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	e := newEvent("/a", "1")
	e.SetTime(time.Unix(7, 0))
	e.SetExtension("sequence", 7)
	e.SetSubject("x")
	e.SetDataSchema("urn:s")
	m := oncecloudevents.Message(e)
	byEvent, ok := c.Key(m)
	byHeaders, _ := c.Key(oncemsg.Message{ID: "broker's", Header: func(name string) string {
		return map[string]string{"ce_id": "1", "ce_source": "/a"}[name]
	}})
	if !ok || byEvent != byHeaders {
		t.Errorf("keys are %q and %q", byEvent.ID, byHeaders.ID)
	}
	for name, want := range map[string]string{
		"sequence": "7", "type": "order.placed", "subject": "x", "dataschema": "urn:s", "datacontenttype": "application/json", "none": "",
	} {
		if got := m.Lookup(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !m.Time.Equal(e.Time()) || string(m.Payload) != string(e.Data()) || m.Native.(cloudevents.Event).ID() != "1" {
		t.Errorf("message is %+v", m)
	}
}

func TestReplayByExtension(t *testing.T) {
	r := newReceiver(t, oncecloudevents.Config{ReplayExtension: "replay"})
	calls := 0
	url := serve(t, r.Receive(func(context.Context, cloudevents.Event) error { calls++; return nil }))
	for _, replay := range []string{"monday", "monday", "tuesday"} {
		post(t, url, newEvent("/a", "1"), "ce-replay", replay)
	}
	if calls != 2 {
		t.Errorf("handled %d times, want 2", calls)
	}
}

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	g := newGuard(t, new(oncemem.Store))
	_, err := oncecloudevents.New(oncecloudevents.Config{Consumer: oncemsg.Config{Guard: g}})
	for _, want := range []string{"Consumer.Guard is set", "Guard is missing", "Subscriber is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	if _, err := oncecloudevents.New(oncecloudevents.Config{
		Guard: g, Consumer: oncemsg.Config{Guard: g, Subscriber: "s"},
	}); err == nil {
		t.Error("two guards were accepted")
	}
}
