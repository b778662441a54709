package oncecloudevents_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncecloudevents"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

type handler = func(context.Context, cloudevents.Event) (*cloudevents.Event, error)

func serveHTTP(t *testing.T, cfg oncecloudevents.Config, h handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(newReceiver(t, cfg).HTTPHandler(h))
	t.Cleanup(s.Close)
	return s
}

// A sender that hangs up is answered when it sends again: the handler is neither stopped nor run twice, and
// the server can be shut down when it is done.
func TestSenderThatHangsUpStopsNothing(t *testing.T) {
	t.Parallel()
	begun, release := make(chan context.Context, 1), make(chan bool)
	var runs atomic.Int64
	s := serveHTTP(t, oncecloudevents.Config{}, func(ctx context.Context, _ cloudevents.Event) (*cloudevents.Event, error) {
		runs.Add(1)
		begun <- ctx
		<-release
		return nil, context.Cause(ctx)
	})
	gone, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(gone, http.MethodPost, s.URL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"specversion": "1.0", "id": "1", "source": "/shop", "type": "t"} {
		req.Header.Set("ce-"+name, value)
	}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	handling := <-begun
	hangUp()
	<-ended
	code, header, _ := post(t, s.URL, newEvent("/shop", "1"))
	if code != 503 || header.Get("Retry-After") == "" || handling.Err() != nil {
		t.Errorf("status %d, Retry-After %q, the handler's context: %v", code, header.Get("Retry-After"), handling.Err())
	}
	close(release)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if code, _, _ = post(t, s.URL, newEvent("/shop", "1")); code == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("status %d after a minute", code)
		}
	}
	if runs.Load() != 1 {
		t.Errorf("handled %d times", runs.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Senders that come and go leave no request without its answer: with the SDK's own handler some stay
// for ever.
func TestRequestsOfSendersThatHaveGoneEnd(t *testing.T) {
	t.Parallel()
	h := newReceiver(t, oncecloudevents.Config{}).HTTPHandler(
		func(context.Context, cloudevents.Event) (*cloudevents.Event, error) { return nil, nil })
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for range 200 {
			req := httptest.NewRequestWithContext(gone, http.MethodPost, "/", strings.NewReader(""))
			for name, value := range map[string]string{"specversion": "1.0", "id": "1", "source": "/shop", "type": "t"} {
				req.Header.Set("ce-"+name, value)
			}
			h.ServeHTTP(httptest.NewRecorder(), req)
		}
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("a request does not end")
	}
}

func TestStatusTellsTheSenderWhatToDo(t *testing.T) {
	t.Parallel()
	var result error
	h := func(context.Context, cloudevents.Event) (*cloudevents.Event, error) { return nil, result }
	s := serveHTTP(t, oncecloudevents.Config{}, h)
	own := serveHTTP(t, oncecloudevents.Config{Result: func(d oncemsg.Decision) protocol.Result {
		return cehttp.NewResult(499, "%s", d.Kind)
	}}, h)
	for i, test := range []struct {
		result     error
		status     int
		retryAfter bool
	}{
		{nil, 200, false}, {errNet, 503, true}, {once.NoEffect(errNet), 503, true}, {once.Final(errNet), 422, false},
	} {
		result = test.result
		e := newEvent("/shop", string(rune('a'+i)))
		code, header, body := post(t, s.URL, e)
		if code != test.status || (header.Get("Retry-After") != "") != test.retryAfter || strings.Contains(body, errNet.Error()) {
			t.Errorf("%v: status %d, %v, %s", test.result, code, header, body)
		}
		if code, _, _ := post(t, own.URL, e); code != 499 {
			t.Errorf("status %d, want that of Config.Result", code)
		}
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	t.Parallel()
	h := newReceiver(t, oncecloudevents.Config{}).HTTPHandler(
		func(context.Context, cloudevents.Event) (*cloudevents.Event, error) {
			t.Error("handled")
			return nil, nil
		})
	s := httptest.NewServer(http.MaxBytesHandler(h, 100))
	t.Cleanup(s.Close)
	const structured = "application/cloudevents+json"
	for _, test := range []struct {
		method, contentType, body string
		status                    int
	}{
		{"GET", structured, "", 405},
		{"POST", "text/plain", "{}", 415},
		{"POST", "application/cloudevents-batch+json", "[]", 415},
		{"POST", structured, "{", 400},
		{"POST", structured, `{"specversion":"1.0","source":"/shop","type":"t"}`, 400}, // no id
		{"POST", structured, strings.Repeat(" ", 200), 413},
	} {
		req, err := http.NewRequest(test.method, s.URL, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", test.contentType)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != test.status {
			t.Errorf("%s %s %q: status %d, want %d", test.method, test.contentType, test.body, res.StatusCode, test.status)
		}
	}
}
