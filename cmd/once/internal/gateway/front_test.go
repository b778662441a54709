package gateway_test

import (
	"strings"
	"testing"
)

// Requests that a service might understand otherwise than the gateway. Each is sent by itself; the
// service must not see any of them.
func TestFrontRefuses(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url)
	head := func(fields ...string) string {
		return "POST /x HTTP/1.1\r\nHost: a\r\nX-Tenant: acme\r\nContent-Length: 2\r\nConnection: close\r\n" +
			strings.Join(append(fields, "", "hi"), "\r\n")
	}
	target := func(path string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: a\r\nX-Tenant: acme\r\nIdempotency-Key: k\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
	}
	chunked := func(body string) string {
		return "POST /x HTTP/1.1\r\nHost: a\r\nX-Tenant: acme\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body
	}
	for _, tt := range []struct{ name, raw string }{
		{"length and coding", head("Idempotency-Key: k", "Transfer-Encoding: chunked")},
		{"two keys", head("Idempotency-Key: k", "Idempotency-Key: l")},
		{"two equal keys", head("Idempotency-Key: k", "idempotency-key: k")},
		{"key with underscore", head("Idempotency_Key: k")},
		{"key with underscore beside the key", head("Idempotency-Key: k", "Idempotency_Key: l")},
		{"key under another name", head("X-Idempotency-Key: k")},
		{"key under another name, underscores", head("x_idempotency_key: k")},
		{"key without hyphen", head("IdempotencyKey: k")},
		{"tenant with underscore", head("Idempotency-Key: k", "X_Tenant: evil")},
		{"attempt with underscore", head("Idempotency-Key: k", "Once_Attempt: 7")},
		{"connection names the key", head("Idempotency-Key: k", "Connection: Idempotency-Key")},
		{"connection names the tenant", head("Idempotency-Key: k", "Connection: close, x-tenant")},
		{"connection names the credentials", head("Idempotency-Key: k", "Connection: Authorization")},
		{"connection names the type", head("Connection: content-type")},
		{"empty key", head("Idempotency-Key: ")},
		{"empty quoted key", head(`Idempotency-Key: ""`)},
		{"long key", head("Idempotency-Key: " + strings.Repeat("k", 256))},
		{"key list", head("Idempotency-Key: a, b")},
		{"key with control character", head("Idempotency-Key: \"a\tb\"")},
		{"key in Latin-1", head("Idempotency-Key: \"\xe9\"")},
		{"folded key", head("Idempotency-Key: a", " b")},
		{"bare LF", strings.Replace(head("Idempotency-Key: k"), "\r\nX-Tenant", "\nX-Tenant", 1)},
		{"no tenant", strings.Replace(head("Idempotency-Key: k"), "X-Tenant: acme\r\n", "", 1)},
		{"two tenants", head("Idempotency-Key: k", "X-Tenant: evil")},
		{"dot segments", target("/a/../x")},
		{"encoded dot segments", target("/a/%2e%2E/x")},
		{"dot segment", target("/./x")},
		{"trailing dots", target("/a/..")},
		{"empty segment", target("//x")},
		{"empty segment inside", target("/a//x")},
		{"relative path", target("x")},
		{"star", target("*")},
		{"space in target", target("/a b")},
		{"chunk size with prefix", chunked("0x2\r\nhi\r\n0\r\n\r\n")},
		{"chunk with bare LF", chunked("2\nhi\r\n0\r\n\r\n")},
		{"chunk too long", chunked("1\r\nhi\r\n0\r\n\r\n")},
		{"body cut off", chunked("5\r\nhi")},
		{"upgrade of an operation", head("Idempotency-Key: k", "Connection: Upgrade", "Upgrade: websocket")},
		{"trace", "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"},
		{"connect", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.rawHalfClosed(tt.raw)
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("got %q, want 400", got)
			}
			if strings.Count(got, "HTTP/1.") != 1 {
				t.Errorf("got more than one response: %q", got)
			}
		})
	}
	if n := calls(); n != 0 {
		t.Errorf("the service saw %d requests", n)
	}
	if recs := r.records(); len(recs) != 0 {
		t.Errorf("operations were claimed: %v", recs)
	}
}

// What is unusual but has only one reading goes through.
func TestFrontLetsThrough(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url)
	want := 0
	for _, tt := range []struct{ name, raw string }{
		{"chunked body", "POST /1 HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		{"encoded slash", "POST /a%2Fb HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"hidden file", "POST /.well-known/x HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"slash at the end", "POST /a/ HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"absolute form goes to the service all the same", "POST http://evil.example/2 HTTP/1.1\r\nHost: evil.example\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"other underscores", "POST /3 HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nMy_Field: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"connection names a field of its own", "POST /4 HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nX-Hop: 1\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\n\r\nhi"},
		{"no key", "POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"options star", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"},
	} {
		got := r.raw(tt.raw)
		if tt.name != "options star" {
			want++
		}
		if !strings.HasPrefix(got, "HTTP/1.1 2") {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
	if n := calls(); n != want {
		t.Errorf("the service saw %d requests, want %d", n, want)
	}
}

// A request that the server in front reads as one must not become two behind.
func TestNothingIsSmuggledBehind(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url)
	smuggled := "POST /evil HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
	got := r.raw("POST /x HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" +
		"2f\r\n" + smuggled + "\r\n0\r\n\r\n" + smuggled)
	if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.HasPrefix(got, "HTTP/1.1 400") || calls() != 0 {
		t.Errorf("got %q; the service saw %d requests", got, calls())
	}
}

func TestSlowHeaderIsCutOff(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url, "--header-timeout", "100ms", "--read-timeout", "300ms")
	if got := r.raw("POST / HTTP/1.1\r\nHost: a\r\nX-Te"); got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") {
		t.Errorf("slow header: got %q", got)
	}
	got := r.raw("POST / HTTP/1.1\r\nHost: a\r\nX-Tenant: a\r\nIdempotency-Key: k\r\nContent-Length: 10\r\n\r\nslow")
	if strings.HasPrefix(got, "HTTP/1.1 2") || calls() != 0 || len(r.records()) != 0 {
		t.Errorf("slow body: got %q, %d calls, records %v", got, calls(), r.records())
	}
}

func TestLargeRequestsAreRefused(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url, "--header-bytes", "4KiB", "--request-body", "1KiB")
	if a := r.post("/", "k", strings.Repeat("x", 1025)); a.status != 413 {
		t.Errorf("body: got %+v", a)
	}
	if a, err := r.try(request(t, "POST", "http://"+r.addr, "x", "X-Large", strings.Repeat("x", 16<<10))); err == nil && a.status != 431 {
		t.Errorf("header: got %+v", a)
	}
	if calls() != 0 || len(r.records()) != 0 {
		t.Errorf("%d calls, records %v", calls(), r.records())
	}
	if a := r.post("/", "k", strings.Repeat("x", 1024)); a.status != 201 {
		t.Errorf("at the limit: got %+v", a)
	}
	if a := r.do(request(t, "POST", "http://"+r.addr, strings.Repeat("x", 5<<20))); a.status != 201 || len(a.body) != 5<<20+4 {
		t.Errorf("a large body without a key: got %d and %d bytes", a.status, len(a.body))
	}
}
