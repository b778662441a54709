package oncehttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func TestWhatAStatusMeans(t *testing.T) {
	const kept, again, doubt = "kept", "again", "in doubt"
	for _, c := range []struct {
		preset string
		keep   func(int) oncehttp.Decision
		want   map[int]string
	}{
		{"default", nil, map[int]string{
			200: kept, 204: kept, 303: kept, 400: kept, 401: kept, 404: kept, 409: kept, 422: kept,
			408: again, 425: again, 429: again, 503: again, 500: doubt, 502: doubt, 504: doubt,
		}},
		{"all", oncehttp.KeepAll, map[int]string{200: kept, 404: kept, 429: kept, 500: kept, 503: kept}},
		{"success", oncehttp.KeepSuccess, map[int]string{
			200: kept, 201: kept, 303: again, 400: again, 429: again, 503: again, 500: doubt,
		}},
		{"own", func(status int) oncehttp.Decision { return oncehttp.Release }, map[int]string{200: again}},
	} {
		for code, want := range c.want {
			h := status(code)
			guarded := newMiddleware(t, oncehttp.Config{Keep: c.keep}).Wrap(h)
			do(guarded, call{key: "k"}).wantStatus(t, code)
			a := do(guarded, call{key: "k"})
			var got string
			switch {
			case a.StatusCode == code && a.replayed() && h.runs.Load() == 1:
				got = kept
			case a.StatusCode == code && !a.replayed() && h.runs.Load() == 2:
				got = again
			case a.StatusCode == 500 && strings.Contains(a.body, oncehttp.ProblemInDoubt) && h.runs.Load() == 1:
				got = doubt
			}
			if got != want {
				t.Errorf("%s: %d is %q, want %q (retry: %d)", c.preset, code, got, want, a.StatusCode)
			}
		}
	}
}

func TestHandlerSaysWhatItsResponseMeans(t *testing.T) {
	say := func(code int, f func(context.Context) bool) *counter {
		h := &counter{}
		h.next = func(w http.ResponseWriter, r *http.Request) {
			if !f(r.Context()) {
				t.Error("the request is not known to be guarded")
			}
			w.WriteHeader(code)
		}
		return h
	}
	h := say(500, oncehttp.Final)
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	first := do(guarded, call{key: "k"})
	do(guarded, call{key: "k"}).wantReplayOf(t, first)
	h.wantRuns(t, 1)

	h = say(200, oncehttp.NoEffect)
	guarded = newMiddleware(t, oncehttp.Config{}).Wrap(h)
	do(guarded, call{key: "k"}).wantStatus(t, 200)
	do(guarded, call{key: "k"}).wantStatus(t, 200)
	h.wantRuns(t, 2)

	h = say(404, oncehttp.InDoubt)
	guarded = newMiddleware(t, oncehttp.Config{}).Wrap(h)
	do(guarded, call{key: "k"}).wantStatus(t, 404)
	do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
	h.wantRuns(t, 1)

	h = say(201, oncehttp.NoStore)
	guarded = newMiddleware(t, oncehttp.Config{}).Wrap(h)
	do(guarded, call{key: "k"}).wantStatus(t, 201)
	p := do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemResponseNotKept, 410)
	if p.OriginalStatus != 201 {
		t.Errorf("original status is %d", p.OriginalStatus)
	}
	h.wantRuns(t, 1)

	if oncehttp.Final(t.Context()) {
		t.Error("a context of no request is taken for a guarded one")
	}
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			cfg  oncehttp.Config
			say  time.Duration
			want time.Duration
		}{
			"of the guard":    {want: time.Hour},
			"of the config":   {cfg: oncehttp.Config{Retention: time.Minute}, want: time.Minute},
			"by status":       {cfg: oncehttp.Config{RetentionFor: func(_ *http.Request, status int) time.Duration { return time.Duration(status) }}, want: 200},
			"not by status":   {cfg: oncehttp.Config{RetentionFor: func(*http.Request, int) time.Duration { return 0 }}, want: time.Hour},
			"of the handler":  {say: 2 * time.Minute, want: 2 * time.Minute},
			"handler is last": {cfg: oncehttp.Config{RetentionFor: func(*http.Request, int) time.Duration { return 1 }}, say: time.Second, want: time.Second},
		} {
			store := new(oncemem.Store)
			c.cfg.Guard = newGuard(t, once.Config{Store: store, Retention: time.Hour})
			h := &counter{next: func(w http.ResponseWriter, r *http.Request) { oncehttp.SetRetention(r.Context(), c.say) }}
			guarded := newMiddleware(t, c.cfg).Wrap(h)
			do(guarded, call{key: "k"})
			time.Sleep(c.want - 1)
			do(guarded, call{key: "k"})
			if h.runs.Load() != 1 {
				t.Errorf("%s: forgotten too early", name)
			}
			time.Sleep(time.Nanosecond)
			do(guarded, call{key: "k"})
			if h.runs.Load() != 2 {
				t.Errorf("%s: not forgotten after %v", name, c.want)
			}
		}
	})
}

func TestResponseThatIsTooLargeIsSentOnceAndTheOperationIsDone(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 1000)
	for name, write := range map[string]func(w http.ResponseWriter){
		"at once":    func(w http.ResponseWriter) { io.WriteString(w, body) },
		"bit by bit": func(w http.ResponseWriter) { io.Copy(struct{ io.Writer }{w}, strings.NewReader(body)) },
		"copied":     func(w http.ResponseWriter) { io.Copy(w, plain{strings.NewReader(body)}) },
		"with copies before": func(w http.ResponseWriter) {
			io.WriteString(w, body[:100])
			io.Copy(w, plain{strings.NewReader(body[100:200])})
			w.(http.Flusher).Flush()
			io.Copy(w, plain{io.MultiReader(strings.NewReader(body[200:900]), strings.NewReader(body[900:]))})
		},
		"lines": func(w http.ResponseWriter) {
			for i := 0; i < len(body); i += 10 {
				w.Write([]byte(body[i : i+10]))
				w.(http.Flusher).Flush()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &counter{next: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Kept", "yes")
				w.Header().Set("Trailer", "X-Sum")
				w.WriteHeader(201)
				write(w)
				if ctx := r.Context(); ctx.Err() != nil || context.Cause(ctx) != nil {
					t.Error("the context is done:", ctx.Err(), context.Cause(ctx))
				}
				w.Header().Set("X-Sum", "1")
			}}
			s := newServer(t, newMiddleware(t, oncehttp.Config{MaxResponseBody: 1000}).Wrap(h))
			first := parse(t, raw(t, s, "k"))
			if first.status != 201 || string(first.body) != body || first.header.Get("X-Kept") != "yes" || first.trailer.Get("X-Sum") != "1" {
				t.Errorf("first response is %d, %d bytes, %v, %v", first.status, len(first.body), first.header, first.trailer)
			}
			second := parse(t, raw(t, s, "k"))
			a := &answer{&http.Response{StatusCode: second.status, Header: second.header}, string(second.body)}
			if p := a.wantProblem(t, oncehttp.ProblemResponseNotKept, 410); p.OriginalStatus != 201 || p.Retryable {
				t.Errorf("problem is %+v", p)
			}
			h.wantRuns(t, 1)
		})
	}
}

// What is too large for a response that is no outcome is sent on, too.
func TestLargeResponseThatIsNotAnOutcome(t *testing.T) {
	for _, code := range []int{429, 500} {
		h := &counter{next: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			w.Write(make([]byte, 5000))
		}}
		guarded := newMiddleware(t, oncehttp.Config{MaxResponseBody: 1000}).Wrap(h)
		a := do(guarded, call{key: "k"})
		a.wantStatus(t, code)
		if len(a.body) != 5000 {
			t.Errorf("%d: %d bytes were sent", code, len(a.body))
		}
		if code == 429 {
			do(guarded, call{key: "k"}).wantStatus(t, 429)
			h.wantRuns(t, 2)
		} else {
			do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
			h.wantRuns(t, 1)
		}
	}
}

func TestLargeResponseIsNotSentUnlessRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := faulty(oncetest.Complete, oncetest.Fault{Before: errDown}, always)
		h := &counter{next: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Secret", "1")
			for range 3 {
				if n, err := w.Write(make([]byte, 5000)); n != 0 || !errors.Is(err, errDown) {
					t.Errorf("the handler is told %d, %v", n, err)
				}
				w.(http.Flusher).Flush()
			}
		}}
		guarded := newMiddleware(t, oncehttp.Config{
			Guard: newGuard(t, once.Config{Store: store, Lease: time.Second}), MaxResponseBody: 1000,
		}).Wrap(h)
		a := do(guarded, call{key: "k"})
		a.wantProblem(t, oncehttp.ProblemOutcomeUnknown, 503)
		if a.Header.Get("X-Secret") != "" {
			t.Error("the header was sent")
		}
	})
}

// A binder is a store that stands for one that runs operations in a transaction.
type binder struct {
	*oncemem.Store
	completed int
}

func (b *binder) Bind(ctx context.Context, _ once.Record) context.Context {
	return context.WithValue(ctx, binder{}, b)
}

func (b *binder) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	b.completed++
	return b.Store.Complete(ctx, k, o, out, d)
}

// In a transaction nothing may be completed before the handler has returned.
func TestLargeResponseInATransaction(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		header string
		held   bool
	}{
		{"larger than is kept", 5000, "text/plain", true},
		{"larger than is held back", 17000, "text/plain", false},
		{"event stream", 10, "text/event-stream", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := &binder{Store: new(oncemem.Store)}
			h := &counter{next: func(w http.ResponseWriter, r *http.Request) {
				if r.Context().Value(binder{}) != store {
					t.Error("the handler is not given what the store binds")
				}
				w.Header().Set("Content-Type", c.header)
				_, err := io.Copy(w, plain{bytes.NewReader(make([]byte, c.size))})
				if (err == nil) != c.held || store.completed != 0 {
					t.Errorf("while it runs the handler is told %v, completed %d times", err, store.completed)
				}
			}}
			guarded := newMiddleware(t, oncehttp.Config{
				Guard: newGuard(t, once.Config{Store: store}), MaxResponseBody: 1000,
			}).Wrap(h)
			a := do(guarded, call{key: "k"})
			if c.held {
				a.wantStatus(t, 200)
				if len(a.body) != c.size {
					t.Errorf("%d bytes were sent", len(a.body))
				}
				do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemResponseNotKept, 410)
			} else {
				a.wantProblem(t, oncehttp.ProblemResponseTooLarge, 500)
				do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
			}
			h.wantRuns(t, 1)
		})
	}
}

func TestEventStreamThatWasNotAnnouncedIsSentAndDone(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	h := &counter{next: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	}}
	s := newServer(t, newMiddleware(t, oncehttp.Config{}).Wrap(h))
	c := call{key: "k", header: http.Header{"Accept": {"application/json, text/event-stream"}}}
	res := send(t, s, c)
	defer res.Body.Close()
	for i := range 3 {
		next <- struct{}{}
		want := fmt.Sprintf("data: %d\n\n", i)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("event is %q, %v", got, err)
		}
	}
	again := send(t, s, c)
	(&answer{again, string(readAll(t, again.Body))}).wantProblem(t, oncehttp.ProblemResponseNotKept, 410)
	h.wantRuns(t, 1)
}

// send sends the call to a server.
func send(t *testing.T, s *httptest.Server, c call) *http.Response {
	t.Helper()
	r := c.request().WithContext(t.Context())
	r.RequestURI = ""
	r.URL.Scheme, r.URL.Host = "http", s.Listener.Addr().String()
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestHeaderOfSomethingOutsideIsItsOwn(t *testing.T) {
	n := 0
	h := &counter{next: func(w http.ResponseWriter, _ *http.Request) {
		if w.Header().Get("X-Request-Id") == "" {
			t.Error("the handler does not see what is outside")
		}
		w.Header().Set("X-Changed", "inside")
		w.Header().Add("Vary", "Accept")
		w.Header().Set("X-Inside", "1")
	}}
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("X-Request-Id", fmt.Sprint(n))
		w.Header().Set("X-Changed", "outside")
		w.Header().Set("Vary", "Origin")
		guarded.ServeHTTP(w, r)
	})
	first, second := do(outside, call{key: "k"}), do(outside, call{key: "k"})
	second.wantReplayOf(t, first)
	for name, want := range map[string]string{
		"X-Request-Id": "[2]", "X-Changed": "[inside]", "Vary": "[Origin Accept]", "X-Inside": "[1]",
	} {
		if got := fmt.Sprint(second.Header[name]); got != want {
			t.Errorf("%s of the replay is %s, want %s", name, got, want)
		}
	}
	third := do(outside, call{key: "k", body: "other"})
	third.wantProblem(t, oncehttp.ProblemKeyReused, 422)
	if third.Header.Get("X-Request-Id") != "3" {
		t.Error("a problem lacks the header of something outside")
	}
}

func TestReplayOmit(t *testing.T) {
	next := func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("Www-Authenticate", "Basic")
		w.Header().Set("X-Once", "1")
		w.Header().Set("Date", "yesterday")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header()["set-cookie"] = []string{"c=3"}
	}
	for _, c := range []struct {
		omit []string
		want string
	}{
		{nil, "X-Once"},
		{[]string{}, "Set-Cookie Www-Authenticate X-Once set-cookie"},
		{[]string{"x-once"}, "Set-Cookie Www-Authenticate set-cookie"},
	} {
		guarded := newMiddleware(t, oncehttp.Config{ReplayOmit: c.omit}).Wrap(http.HandlerFunc(next))
		first := do(guarded, call{key: "k"})
		if len(first.Header["Set-Cookie"]) != 2 || first.Header.Get("X-Hop") == "" {
			t.Errorf("the first response lacks fields: %v", first.Header)
		}
		second := do(guarded, call{key: "k"})
		var got []string
		for _, name := range []string{"Connection", "Date", "Set-Cookie", "Www-Authenticate", "X-Hop", "X-Once", "set-cookie"} {
			if _, ok := second.Header[name]; ok {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("omitting %q replays %q, want %q", c.omit, got, c.want)
		}
		if v := second.Header["Set-Cookie"]; v != nil && fmt.Sprint(v) != "[a=1 b=2]" {
			t.Errorf("cookies are %q", v)
		}
	}
}

func TestReplayIsExposedToOtherOrigins(t *testing.T) {
	allow := ""
	guarded := newMiddleware(t, oncehttp.Config{ReplayHeader: "idempotent-replayed"}).Wrap(created())
	outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allow != "" {
			w.Header().Set("Access-Control-Allow-Origin", allow)
			w.Header().Set("Access-Control-Expose-Headers", "Location")
		}
		guarded.ServeHTTP(w, r)
	})
	do(outside, call{key: "k"})
	if a := do(outside, call{key: "k"}); a.Header.Get("Idempotent-Replayed") != "true" || a.Header["Access-Control-Expose-Headers"] != nil {
		t.Errorf("header of a replay to the same origin is %v", a.Header)
	}
	allow = "https://other.example"
	if a := do(outside, call{key: "k"}); fmt.Sprint(a.Header["Access-Control-Expose-Headers"]) != "[Location Idempotent-Replayed]" {
		t.Errorf("header of a replay to another origin is %v", a.Header)
	}
}

func TestHijackIsRefused(t *testing.T) {
	t.Parallel()
	h := &counter{next: func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("hijack: %v", err)
		}
		if _, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
			t.Error("the writer can be unwrapped")
		}
	}}
	s := newServer(t, newMiddleware(t, oncehttp.Config{}).Wrap(h))
	if res := send(t, s, call{key: "k"}); res.StatusCode != 200 {
		t.Errorf("status is %d", res.StatusCode)
	}
}

// What a goroutine of the handler writes later goes nowhere, least into another response.
func TestWritesAfterTheHandlerAreRefused(t *testing.T) {
	var w http.ResponseWriter
	h := &counter{next: func(rw http.ResponseWriter, _ *http.Request) { w = rw; io.WriteString(rw, "hello") }}
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	first := do(guarded, call{key: "k"})
	w.WriteHeader(500)
	if n, err := io.WriteString(w, "late"); n != 0 || err == nil {
		t.Errorf("a late write is told %d, %v", n, err)
	}
	if n, err := io.Copy(w, plain{strings.NewReader("late")}); n != 0 || err == nil {
		t.Errorf("a late copy is told %d, %v", n, err)
	}
	if err := http.NewResponseController(w).Flush(); err == nil {
		t.Error("a late flush is not refused")
	}
	if first.body != "hello" {
		t.Errorf("body is %q", first.body)
	}
	do(guarded, call{key: "k"}).wantReplayOf(t, first)
}
