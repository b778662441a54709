package gateway_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/gateway"
)

func TestRetryGetsTheFirstResponse(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url)
	first := r.post("/charges", "k1", `{"amount":1}`, "Content-Type", "application/json")
	again := r.post("/charges", `"k1"`, `{ "amount": 1 }`, "Content-Type", "application/json")
	if first.status != 201 || first.replayed() || again.status != 201 || again.body != first.body || !again.replayed() {
		t.Errorf("got %+v and %+v", first, again)
	}
	if other := r.post("/charges", "k2", "x"); other.replayed() || calls() != 2 {
		t.Errorf("another key: got %+v after %d calls", other, calls())
	}
	if other := r.post("/charges", "k1", "x"); other.status != 422 || calls() != 2 {
		t.Errorf("another request: got %+v after %d calls", other, calls())
	}
}

func TestWhatTheServiceIsSent(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []*http.Request
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		mu.Lock()
		seen = append(seen, r)
		mu.Unlock()
	})
	r := start(t, url+"/base")
	r.post("/a%2Fb?x=%20&y", "k", "hello", "Once-Attempt", "99", "Once-Fence", "99", "Once-Derived-Key", "evil",
		"X-Forwarded-For", "10.0.0.1", "X-Multi", "1", "X-Multi", "2", "Connection", "x-hop", "X-Hop", "1")
	r.do(request(t, "GET", "http://"+r.addr+"/a%2Fb?x=%20&y", "", "Once-Attempt", "99", "X-Forwarded-For", "10.0.0.1",
		"X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example"))
	r.do(request(t, "POST", "http://"+r.addr+"/keyless", "hi", "Once-Derived-Key", "evil"))
	guarded, safe, keyless := seen[0], seen[1], seen[2]
	for _, s := range []*http.Request{guarded, safe} {
		if s.RequestURI != "/base/a%2Fb?x=%20&y" || s.Host != r.addr {
			t.Errorf("%s: got %s for %s", s.Method, s.RequestURI, s.Host)
		}
	}
	h := guarded.Header
	for name, want := range map[string]string{"Once-Attempt": "1", "Idempotency-Key": "k", "X-Tenant": "acme", "Content-Length": "5",
		"X-Forwarded-For": "10.0.0.1, 127.0.0.1", "X-Multi": "1, 2", "X-Hop": "", "Connection": "", "Accept-Encoding": ""} {
		if got := strings.Join(h[name], ", "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	k := r.records()[0].Key
	if derived := h.Get("Once-Derived-Key"); derived != gateway.DerivedKey(k) || len(derived) != 36 {
		t.Errorf("derived key is %q, want %q", derived, gateway.DerivedKey(k))
	}
	if h.Get("Once-Fence") == "99" || h.Get("Once-Fence") == "" {
		t.Errorf("fence is %q", h.Get("Once-Fence"))
	}
	for name, want := range map[string]string{"X-Forwarded-For": "10.0.0.1, 127.0.0.1", "X-Forwarded-Proto": "https",
		"X-Forwarded-Host": "shop.example"} {
		if got := strings.Join(safe.Header[name], ", "); got != want {
			t.Errorf("unguarded: %s: got %q, want %q", name, got, want)
		}
	}
	if h.Get("X-Forwarded-Proto") != "http" || keyless.Header.Get("X-Forwarded-Proto") != "http" {
		t.Error("the protocol is not told")
	}
	if safe.Header.Get("Once-Attempt") != "" {
		t.Error("a client can say which attempt it is")
	}
	if d := keyless.Header.Get("Once-Derived-Key"); len(d) != 36 {
		t.Errorf("request without a key has the derived key %q", d)
	}
}

func TestResponsesPassUnchanged(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 5000)
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Date"] = []string{"Mon, 02 Jan 2006 15:04:05 GMT"}
		h["X-Multi"] = []string{"a", "b"}
		switch r.URL.Path {
		case "/binary":
			h.Set("Content-Type", "image/png")
			h.Set("Etag", `"x"`)
			w.Write([]byte{0, 1, 255, '\r', '\n'})
		case "/untyped":
			h["Content-Type"] = nil
			io.WriteString(w, "<html>")
		case "/empty":
			w.WriteHeader(204)
		case "/redirect":
			h.Set("Location", "/elsewhere")
			w.WriteHeader(303)
		case "/chunked":
			h.Set("Content-Type", "text/plain")
			io.WriteString(w, big)
			http.NewResponseController(w).Flush()
			io.WriteString(w, big)
		case "/trailer":
			h.Set("Content-Type", "text/plain")
			h.Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			h.Set("X-Sum", "42")
		case "/early":
			h.Set("Link", "</a>")
			w.WriteHeader(103)
			h.Del("Link")
			w.WriteHeader(422)
		}
	})
	r := start(t, url)
	for _, path := range []string{"/binary", "/untyped", "/empty", "/redirect", "/chunked", "/trailer", "/early"} {
		direct := r.do(request(t, "POST", url+path, "x"))
		first, again := r.post(path, "k", "x"), r.post(path, "k", "x")
		unguarded := r.do(request(t, "POST", "http://"+r.addr+path, "x"))
		if !again.replayed() {
			t.Errorf("%s: not replayed", path)
		}
		for name, got := range map[string]answer{"first": first, "replay": again, "unguarded": unguarded} {
			for _, a := range []answer{direct, got} {
				for _, own := range []string{"Idempotency-Replayed", "Cache-Control", "Date", "Content-Length"} {
					a.header.Del(own)
				}
			}
			if got.status != direct.status || got.body != direct.body || fmt.Sprint(got.header) != fmt.Sprint(direct.header) {
				t.Errorf("%s, %s: got %d %v and %d bytes\nwant %d %v and %d bytes", path, name,
					got.status, got.header, len(got.body), direct.status, direct.header, len(direct.body))
			}
		}
	}
}

func TestOnlyOneOfManyReachesTheService(t *testing.T) {
	t.Parallel()
	enter, leave := make(chan struct{}, 100), make(chan struct{})
	url := service(t, func(w http.ResponseWriter, _ *http.Request) {
		enter <- struct{}{}
		<-leave
		io.WriteString(w, "done")
	})
	r := start(t, url, "--wait", "20s")
	var wg sync.WaitGroup
	var mu sync.Mutex
	replays := 0
	for range 20 {
		wg.Go(func() {
			a := r.post("/", "k", "x")
			mu.Lock()
			defer mu.Unlock()
			if a.status != 200 || a.body != "done" {
				t.Errorf("got %+v", a)
			}
			if a.replayed() {
				replays++
			}
		})
	}
	<-enter
	close(leave)
	wg.Wait()
	if len(enter) != 0 || replays != 19 {
		t.Errorf("service was called %d times more; %d replays", len(enter), replays)
	}
}

func TestRoutesHaveTheirOwnPolicy(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	path := file(t, `
scope: header:X-Tenant
in-doubt: hold
dangerously-trust-store: true
routes:
  - match: POST /required
    key: required
  - match: POST /off/{rest...}
    key: off
  - match: /hooks
    key-from: json:/event/id
  - match: PUT /put/
  - match: POST /delivery
    key-from: header:X-Delivery
`)
	r := start(t, url, "--config", path)
	if a := r.do(request(t, "POST", "http://"+r.addr+"/required", "x", "tenant", "a")); a.status != 400 || a.problem() != "key-missing" || calls() != 0 {
		t.Errorf("required: got %+v", a)
	}
	for _, tt := range []struct {
		method, path, body string
		fields             []string
		calls              int
	}{
		{"POST", "/off/x", "x", []string{"key", "k"}, 2},
		{"POST", "/hooks", `{"event":{"id":"e1"}}`, nil, 1},
		{"POST", "/hooks", `{"event":{}}`, nil, 2}, // no key in it: unguarded
		{"PUT", "/put/x", "x", []string{"key", "k"}, 1},
		{"PUT", "/other", "x", []string{"key", "k"}, 2},
		{"POST", "/put/x", "x", []string{"key", "k"}, 1}, // by the policy of all other requests
		{"POST", "/delivery", "x", []string{"X-Delivery", "no, \"token\""}, 1},
		{"GET", "/required", "", []string{"key", "k"}, 2},
	} {
		before := calls()
		for range 2 {
			r.do(request(t, tt.method, "http://"+r.addr+tt.path, tt.body, append(tt.fields, "tenant", "a")...))
		}
		if n := calls() - before; n != tt.calls {
			t.Errorf("%s %s %s: service was called %d times for 2 requests, want %d", tt.method, tt.path, tt.body, n, tt.calls)
		}
	}
}

func TestHTTP2AndTLSClients(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	cert, key := selfSigned(t)
	for _, tt := range []struct {
		name, scheme string
		version      int
		args         []string
		set          func(*http.Protocols)
	}{
		{"h2c", "http", 2, nil, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
		{"TLS h2", "https", 2, []string{"--tls-cert", cert, "--tls-key", key}, func(p *http.Protocols) { p.SetHTTP2(true) }},
		{"TLS http/1.1", "https", 1, []string{"--tls-cert", cert, "--tls-key", key}, func(p *http.Protocols) { p.SetHTTP1(true) }},
	} {
		r := start(t, url, tt.args...)
		var p http.Protocols
		tt.set(&p)
		c := &http.Client{Transport: &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		before := calls()
		for i := range 2 {
			resp, err := c.Do(request(t, "POST", tt.scheme+"://"+r.addr+"/"+fmt.Sprint(tt.version), "x", "tenant", "a", "key", "k"))
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.ProtoMajor != tt.version || string(b) != "did x" || (resp.Header.Get("Idempotency-Replayed") == "true") != (i == 1) {
				t.Errorf("%s: got %s %v %q", tt.name, resp.Proto, resp.Header, b)
			}
		}
		if n := calls() - before; n != 1 {
			t.Errorf("%s: %d calls", tt.name, n)
		}
		if tt.version == 2 {
			// HTTP/2 has no request line that a space could end.
			req := request(t, "POST", tt.scheme+"://"+r.addr+"/space", "x", "tenant", "a", "key", "space")
			req.URL.RawQuery = "a=b HTTP/1.1"
			resp, err := c.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if resp.Body.Close(); resp.StatusCode != 400 || calls() != before+1 {
				t.Errorf("%s: space in the query: got %d", tt.name, resp.StatusCode)
			}
		}
		c.CloseIdleConnections()
		if tt.scheme == "https" {
			if got := r.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); strings.Contains(got, "200") {
				t.Errorf("plain text on a TLS port: got %q", got)
			}
			conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
			if b, _ := io.ReadAll(conn); !strings.HasPrefix(string(b), "HTTP/1.1 400") {
				t.Errorf("ambiguous request within TLS: got %q", b)
			}
		}
	}
}

func TestUpstreamByTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	defer srv.Close()
	ca := pemFile(t, "CERTIFICATE", srv.Certificate().Raw)
	r := start(t, srv.URL, "--upstream-ca", ca, "--upstream-host", "pay.internal")
	if a := r.post("/", "k", "x"); a.status != 200 || a.body != "pay.internal" {
		t.Errorf("guarded: got %+v", a)
	}
	if a := r.do(request(t, "GET", "http://"+r.addr, "")); a.status != 200 || a.body != "pay.internal" {
		t.Errorf("unguarded: got %+v", a)
	}
	r = start(t, srv.URL)
	if a := r.post("/", "k", "x"); a.status != 503 || len(r.records()) != 0 {
		t.Errorf("unknown authority: got %+v, %v", a, r.records())
	}
}

func TestLogHasNoKeys(t *testing.T) {
	t.Parallel()
	url, _ := counting(t)
	r := start(t, url)
	const secret = "a-very-secret-key"
	r.post("/", secret, "x")
	r.post("/", secret, "x")
	r.post("/", secret, "y")
	r.do(request(t, "POST", "http://"+r.addr, "x", "key", secret))
	if r.post("/", secret+`"`, "x"); strings.Contains(r.log.String(), secret) {
		t.Errorf("log has a key:\n%s", r.log)
	}
	digest := once.Key{Scope: r.records()[0].Key.Scope, ID: secret}.String()
	if !strings.Contains(r.log.String(), digest) {
		t.Errorf("log lacks the digest %s:\n%s", digest, r.log)
	}
	for line := range strings.Lines(r.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	enter, leave := make(chan struct{}), make(chan struct{})
	url := service(t, func(http.ResponseWriter, *http.Request) { close(enter); <-leave })
	r := start(t, url)
	get := func(path string) int { return r.do(request(t, "GET", "http://"+r.admin+path, "")).status }
	if get("/healthz") != 200 || get("/readyz") != 200 {
		t.Error("not well at the start")
	}
	done := make(chan answer, 1)
	go func() { done <- r.post("/", "k", "x") }()
	<-enter
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	for get("/readyz") != 503 {
		time.Sleep(time.Millisecond)
	}
	if get("/healthz") != 200 {
		t.Error("not alive while draining")
	}
	close(leave)
	if a := <-done; a.status != 200 {
		t.Errorf("request under way: got %+v", a)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestReadinessIsTheStores(t *testing.T) {
	t.Parallel()
	url, _ := counting(t)
	r := start(t, url)
	r.store.(io.Closer).Close()
	if a := r.do(request(t, "GET", "http://"+r.admin+"/readyz", "")); a.status != 503 {
		t.Errorf("got %+v", a)
	}
	if a := r.post("/", "k", "x"); a.status != 503 || a.problem() != "store-unavailable" {
		t.Errorf("got %+v", a)
	}
}
