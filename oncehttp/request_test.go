package oncehttp_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func TestWhatPassesUnguarded(t *testing.T) {
	for _, c := range []call{
		{method: "GET", key: "k"}, {method: "HEAD", key: "k"}, {method: "OPTIONS", key: "k"},
		{method: "TRACE", key: "k"}, {method: "PUT", key: "k"}, {method: "DELETE", key: "k"},
		{method: "POST"},
	} {
		h := created()
		w := newMiddleware(t, oncehttp.Config{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, ok := w.(*httptest.ResponseRecorder); !ok {
				t.Errorf("%s is given another writer", c.method)
			}
			if oncehttp.Final(r.Context()) {
				t.Errorf("%s is guarded", c.method)
			}
			h.ServeHTTP(w, r)
		}))
		do(w, c)
		do(w, c)
		h.wantRuns(t, 2)
	}
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{Methods: []string{"PUT", "DELETE"}}).Wrap(h)
	for _, method := range []string{"PUT", "DELETE"} {
		first := do(guarded, call{method: method, key: "k"})
		do(guarded, call{method: method, key: "k"}).wantReplayOf(t, first)
	}
	h.wantRuns(t, 2)
	do(guarded, call{method: "POST", key: "k"})
	do(guarded, call{method: "POST", key: "k"})
	h.wantRuns(t, 4)
}

func TestKeyThatIsMissingOrMalformed(t *testing.T) {
	h := created()
	required := newMiddleware(t, oncehttp.Config{Required: true}).Wrap(h)
	do(required, call{}).wantProblem(t, oncehttp.ProblemKeyMissing, 400)
	do(required, call{method: "GET"}).wantStatus(t, 201)
	h.wantRuns(t, 1)
	for name, values := range map[string][]string{
		"two lines": {"a", "b"}, "empty": {""}, "empty string": {`""`}, "long": {strings.Repeat("k", 256)},
		"control byte": {"\"a\x00\""}, "list": {`"a", "b"`},
	} {
		for _, cfg := range []oncehttp.Config{{}, {Required: true}} {
			a := do(newMiddleware(t, cfg).Wrap(h), call{header: http.Header{"Idempotency-Key": values}})
			p := a.wantProblem(t, oncehttp.ProblemKeyInvalid, 400)
			if p.Retryable || !strings.Contains(p.Detail, "key") {
				t.Errorf("%s: problem is %+v", name, p)
			}
		}
	}
	h.wantRuns(t, 1)
}

func TestCallerWhoIsUnknownIsRefused(t *testing.T) {
	for name, scope := range map[string]func(*http.Request) (string, error){
		"error":         func(*http.Request) (string, error) { return "x", errors.New("secret reason") },
		"nothing":       func(*http.Request) (string, error) { return "", nil },
		"no header":     oncehttp.ScopeHeader("X-Absent"),
		"bearer token":  oncehttp.ScopeHeader("authorization"),
		"no basic auth": oncehttp.ScopeBasic,
		"no name":       oncehttp.ScopeConstant(""),
	} {
		h := created()
		guarded := newMiddleware(t, oncehttp.Config{Scope: scope}).Wrap(h)
		a := do(guarded, call{key: "k", header: http.Header{"Authorization": {"Bearer x"}}})
		a.wantProblem(t, oncehttp.ProblemScopeRefused, 403)
		if strings.Contains(a.body, "secret reason") {
			t.Errorf("%s: the client is told why: %s", name, a.body)
		}
		h.wantRuns(t, 0)
		do(guarded, call{}).wantStatus(t, 201) // no key, no scope
	}
}

func TestScopes(t *testing.T) {
	r := call{user: "alice"}.request()
	if got, err := oncehttp.ScopeHeader("x-user")(r); got != "alice" || err != nil {
		t.Errorf("scope is %q, %v", got, err)
	}
	r.Header.Add("X-User", "bob")
	if got, err := oncehttp.ScopeHeader("x-user")(r); err == nil {
		t.Errorf("of two values %q is taken", got)
	}
	r = call{user: "alice", header: http.Header{"Connection": {"keep-alive, X-USER"}}}.request()
	if got, err := oncehttp.ScopeHeader("x-user")(r); err == nil {
		t.Errorf("%q is taken although it is for one hop", got)
	}
	r.SetBasicAuth("alice", "secret")
	if got, err := oncehttp.ScopeBasic(r); got != "alice" || err != nil {
		t.Errorf("scope is %q, %v", got, err)
	}
	webhook := created()
	single := newMiddleware(t, oncehttp.Config{Scope: oncehttp.ScopeConstant("acme")}).Wrap(webhook)
	delivered := do(single, call{key: "k", user: "alice"})
	do(single, call{key: "k", user: "bob"}).wantReplayOf(t, delivered)

	h := created()
	shared := newMiddleware(t, oncehttp.Config{DangerouslyShareKeys: true}).Wrap(h)
	first := do(shared, call{key: "k", user: "alice"})
	do(shared, call{key: "k", user: "bob"}).wantReplayOf(t, first)
}

func TestOperationScopeIsInjective(t *testing.T) {
	long := strings.Repeat("x", 300)
	seen := map[string]string{}
	parts := []string{"", " ", "a", "a b", "1:a", "a 1:b", "\x00", "/x y", "é", long, long + "y"}
	for _, method := range []string{"POST", "PATCH"} {
		for _, route := range parts {
			for _, principal := range parts {
				scope := oncehttp.OperationScope(method, route, principal)
				args := fmt.Sprintf("%s %.9q %.9q", method, route, principal)
				if other, ok := seen[scope]; ok {
					t.Errorf("%s and %s have the same scope", args, other)
				}
				seen[scope] = args
				if err := (once.Key{Scope: scope, ID: "k"}).Check(); err != nil || len(scope) > once.MaxScope-16 {
					t.Errorf("%s: scope of %d bytes, %v", args, len(scope), err)
				}
			}
		}
	}
	if got := oncehttp.OperationScope("POST", "/charges", "alice"); got != "POST 8:/charges alice" {
		t.Errorf("scope is %q", got)
	}
}

func TestHandlerThatIsWrappedTwice(t *testing.T) {
	h := &counter{next: func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }}
	m := newMiddleware(t, oncehttp.Config{})
	guarded := m.Wrap(m.Wrap(h))
	first := do(guarded, call{key: "k", body: "hello"})
	first.wantStatus(t, 200)
	do(guarded, call{key: "k", body: "hello"}).wantReplayOf(t, first)
	if first.body != "hello" {
		t.Errorf("body is %q", first.body)
	}
	h.wantRuns(t, 1)
}

func TestRoute(t *testing.T) {
	h := created()
	m := newMiddleware(t, oncehttp.Config{Route: func(r *http.Request) string { return r.Pattern }})
	mux := http.NewServeMux()
	mux.Handle("POST /things/{id}", m.Wrap(h))
	do(mux, call{target: "/things/1", key: "k"}).wantStatus(t, 201)
	do(mux, call{target: "/things/2", key: "k"}).wantProblem(t, oncehttp.ProblemKeyReused, 422)
}

// A mux inside tells what is outside which pattern it took, as it does without the middleware.
func TestPatternIsSeenOutside(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("POST /things", created())
	r := call{key: "k"}.request()
	newMiddleware(t, oncehttp.Config{}).Wrap(mux).ServeHTTP(httptest.NewRecorder(), r)
	if r.Pattern != "POST /things" {
		t.Errorf("pattern is %q", r.Pattern)
	}
}

func TestBodyIsReadAsWithoutTheMiddleware(t *testing.T) {
	h := &counter{next: func(w http.ResponseWriter, r *http.Request) {
		first, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if n, err := r.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		for range 2 {
			again, err := r.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, again); !bytes.Equal(got, first) {
				t.Errorf("read again: %q", got)
			}
		}
		r.Body.Close()
		if n, err := r.Body.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose {
			t.Errorf("after Close: %d, %v", n, err)
		}
		w.Write(first)
	}}
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	for i, body := range []string{"", "hello", strings.Repeat("0123456789", 20000)} {
		r := call{key: fmt.Sprint(i), body: body}.request()
		r.ContentLength = -1
		r.Body = io.NopCloser(iotest.DataErrReader(iotest.HalfReader(strings.NewReader(body))))
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if w.Body.String() != body {
			t.Errorf("%d bytes came back, want %d", w.Body.Len(), len(body))
		}
	}
	h.wantRuns(t, 3)
}

func TestRequestThatIsTooLargeIsRefused(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{MaxRequestBody: 1000}).Wrap(h)
	for _, length := range []int64{1001, -1, 10} { // as it is, unknown, and wrong
		r := call{key: "k"}.request()
		r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 1001)))
		r.ContentLength = length
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		(&answer{w.Result(), w.Body.String()}).wantProblem(t, oncehttp.ProblemRequestTooLarge, 413)
	}
	r := call{key: "k", body: strings.Repeat("x", 900)}.request()
	w := httptest.NewRecorder()
	r.Body = http.MaxBytesReader(w, r.Body, 500) // a limit from outside
	guarded.ServeHTTP(w, r)
	(&answer{w.Result(), w.Body.String()}).wantProblem(t, oncehttp.ProblemRequestTooLarge, 413)
	h.wantRuns(t, 0)
	do(guarded, call{key: "k", body: strings.Repeat("x", 1000)}).wantStatus(t, 201)
	do(guarded, call{body: strings.Repeat("x", 2000)}).wantStatus(t, 201) // without a key
}

// A body that breaks off changes nothing: the key is free.
func TestRequestThatBreaksOffChangesNothing(t *testing.T) {
	h := created()
	store := new(oncemem.Store)
	claims := 0
	guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{
		Store: oncetest.Faulty(store, func(v oncetest.Verb, n int) oncetest.Fault { claims++; return oncetest.Fault{} }),
	})}).Wrap(h)
	r := call{key: "k"}.request()
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	r.ContentLength = 100
	w := httptest.NewRecorder()
	guarded.ServeHTTP(w, r)
	(&answer{w.Result(), w.Body.String()}).wantProblem(t, oncehttp.ProblemRequestBroken, 400)
	h.wantRuns(t, 0)
	if claims != 0 {
		t.Errorf("the store was asked %d times", claims)
	}
	do(guarded, call{key: "k", body: "whole"}).wantStatus(t, 201)
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	h := &counter{next: func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }}
	s := newServer(t, newMiddleware(t, oncehttp.Config{}).Wrap(h))
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	b := bufio.NewReader(conn)
	send := func(key string) {
		fmt.Fprintf(conn, "POST /things HTTP/1.1\r\nHost: x\r\nX-User: a\r\nIdempotency-Key: %s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", key)
	}
	for range 2 {
		send("k")
		if line, err := b.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("the client is told %q, %v", line, err)
		}
		b.ReadString('\n')
		io.WriteString(conn, "hello")
		res, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(readAll(t, res.Body)); got != "hello" {
			t.Errorf("body is %q", got)
		}
	}
	h.wantRuns(t, 1)
	send(`"`) // refused before the body is asked for
	if line, err := b.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 400 ") {
		t.Errorf("the client is told %q, %v", line, err)
	}
}

func TestFilesOfAFormAreRemoved(t *testing.T) {
	var name string
	h := &counter{next: func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Fatal(err)
		}
		f, err := r.MultipartForm.File["f"][0].Open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		file, ok := f.(*os.File)
		if !ok {
			t.Fatal("the form is in memory")
		}
		name = file.Name()
	}}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("f", "f")
	part.Write(make([]byte, 100<<10))
	form.Close()
	do(newMiddleware(t, oncehttp.Config{MaxRequestBody: 20 << 20}).Wrap(h), call{
		key: "k", body: body.String() + strings.Repeat(" ", 11<<20), header: http.Header{"Content-Type": {form.FormDataContentType()}},
	})
	if _, err := os.Stat(name); !os.IsNotExist(err) || name == "" {
		t.Errorf("file %q is still there: %v", name, err)
	}
}

func TestUpgradesAndEventStreams(t *testing.T) {
	upgrade := http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}
	events := http.Header{"Accept": {"text/event-stream"}}
	for _, c := range []struct {
		name    string
		call    call
		refused bool
	}{
		{"websocket with a key", call{method: "GET", key: "k", header: upgrade}, true},
		{"upgrade of a guarded method with a key", call{key: "k", header: upgrade}, true},
		{"CONNECT with a key", call{method: "CONNECT", target: "example.com:443", key: "k"}, true},
		{"event stream with a key", call{key: "k", header: events}, true},
		{"websocket without a key", call{method: "GET", header: upgrade}, false},
		{"upgrade without a key", call{header: upgrade}, false},
		{"event stream without a key", call{header: events}, false},
		{"event stream by GET with a key", call{method: "GET", key: "k", header: events}, false},
	} {
		h := &counter{next: func(w http.ResponseWriter, _ *http.Request) {
			if _, ok := w.(*httptest.ResponseRecorder); !ok {
				t.Errorf("%s: the handler is given another writer", c.name)
			}
		}}
		a := do(newMiddleware(t, oncehttp.Config{}).Wrap(h), c.call)
		if c.refused {
			a.wantProblem(t, oncehttp.ProblemStreamRefused, 400)
			h.wantRuns(t, 0)
		} else {
			a.wantStatus(t, 200)
			h.wantRuns(t, 1)
		}
		h.runs.Store(0)
		do(newMiddleware(t, oncehttp.Config{PassUpgrades: true}).Wrap(h), c.call).wantStatus(t, 200)
		h.wantRuns(t, 1)
	}
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	both := call{key: "k", header: http.Header{"Accept": {"application/json, text/event-stream"}}}
	first := do(guarded, both)
	do(guarded, both).wantReplayOf(t, first)
}

func TestWebhook(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{
		KeyFrom: oncehttp.FromJSON("/id"), FingerprintOmit: []string{"/sent_at"}, Required: true, DangerouslyShareKeys: true,
	}).Wrap(h)
	json := http.Header{"Content-Type": {"application/json"}}
	event := func(body string) *answer {
		// A header does not count here.
		return do(guarded, call{key: fmt.Sprint(h.runs.Load()), body: body, header: json})
	}
	first := event(`{"id":"evt_1","type":"paid","sent_at":1}`)
	event(`{"sent_at":2, "id":"evt_1", "type":"paid"}`).wantReplayOf(t, first)
	event(`{"id":"evt_1","type":"refunded","sent_at":1}`).wantProblem(t, oncehttp.ProblemKeyReused, 422)
	event(`{"id":"evt_2","type":"paid","sent_at":1}`).wantStatus(t, 201)
	h.wantRuns(t, 2)
	event(`{"type":"paid"}`).wantProblem(t, oncehttp.ProblemKeyMissing, 400)
	event(`not json`).wantProblem(t, oncehttp.ProblemKeyInvalid, 400)
	event(`{"id":["evt"]}`).wantProblem(t, oncehttp.ProblemKeyInvalid, 400)
	h.wantRuns(t, 2)

	optional := newMiddleware(t, oncehttp.Config{KeyFrom: oncehttp.FromJSON("/id"), DangerouslyShareKeys: true})
	echo := optional.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	if a := do(echo, call{body: `{"type":"paid"}`}); a.body != `{"type":"paid"}` {
		t.Errorf("without a key the handler read %q", a.body)
	}
}

func TestKeyMadeOfThePayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := created()
		guarded := newMiddleware(t, oncehttp.Config{
			KeyFrom: oncehttp.FromPayload("/nonce"), FingerprintOmit: []string{"/nonce"}, Retention: time.Minute,
		}).Wrap(h)
		json := http.Header{"Content-Type": {"application/json"}}
		first := do(guarded, call{body: `{"amount":1,"nonce":1}`, header: json})
		time.Sleep(time.Minute - 1) // no boundary of the clock comes between
		do(guarded, call{body: `{"nonce":2,"amount":1}`, header: json}).wantReplayOf(t, first)
		do(guarded, call{body: `{"nonce":2,"amount":2}`, header: json}).wantStatus(t, 201)
		do(guarded, call{body: `{"nonce":2,"amount":1}`, header: json, user: "bob"}).wantStatus(t, 201)
		h.wantRuns(t, 3)
		time.Sleep(time.Nanosecond)
		do(guarded, call{body: `{"amount":1,"nonce":1}`, header: json}).wantStatus(t, 201)
		h.wantRuns(t, 4)
	})
}

func TestOwnFingerprint(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{
		Fingerprint: func(_ *http.Request, body []byte) (once.Fingerprint, error) {
			if len(body) == 0 {
				return once.Fingerprint{}, errors.New("secret reason")
			}
			return once.FingerprintOf(body[:1]), nil
		},
	}).Wrap(h)
	first := do(guarded, call{key: "k", body: "a1"})
	do(guarded, call{key: "k", body: "a2"}).wantReplayOf(t, first)
	do(guarded, call{key: "k", body: "b1"}).wantProblem(t, oncehttp.ProblemKeyReused, 422)
	a := do(guarded, call{key: "l"})
	a.wantProblem(t, oncehttp.ProblemKeyInvalid, 400)
	if strings.Contains(a.body, "secret") {
		t.Errorf("the client is told why: %s", a.body)
	}
	h.wantRuns(t, 1)
}
