package oncehttp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once/oncehttp"
)

// plain hides every method of a reader but Read.
type plain struct{ io.Reader }

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// wireHandlers are handlers whose responses must look the same with and without the middleware.
var wireHandlers = []struct {
	name    string
	handler http.HandlerFunc
}{
	{"nothing", func(http.ResponseWriter, *http.Request) {}},
	{"status alone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }},
	{"unknown status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) }},
	{"implied length and type", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello") }},
	{"empty write", func(w http.ResponseWriter, _ *http.Request) { w.Write(nil) }},
	{"json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/things/1")
		w.WriteHeader(201)
		w.Write([]byte(`{"id":1}`))
	}},
	{"no content type wanted", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<html>")
	}},
	{"many small writes", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3000 {
			fmt.Fprintf(w, "line %d\n", i)
		}
	}},
	{"writes around the buffer's size", func(w http.ResponseWriter, _ *http.Request) {
		for _, n := range []int{1, 2047, 1, 2048, 1, 2049, 1, 1, 4096, 5000, 3, 2045, 2050, 7} {
			w.Write(random(n))
		}
	}},
	{"exactly the buffer", func(w http.ResponseWriter, _ *http.Request) { w.Write(random(1000)); w.Write(random(1048)) }},
	{"one more than the buffer", func(w http.ResponseWriter, _ *http.Request) { w.Write(random(1000)); w.Write(random(1049)) }},
	{"more than the buffer at once", func(w http.ResponseWriter, _ *http.Request) { w.Write(random(2049)) }},
	{"1 MiB of random bytes", func(w http.ResponseWriter, _ *http.Request) { w.Write(random(1 << 20)) }},
	{"1 MiB with its length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1048576")
		w.Write(random(1 << 20))
	}},
	{"large string", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 10000)) }},
	{"large strings and slices", func(w http.ResponseWriter, _ *http.Request) {
		for _, n := range []int{1, 2047, 2048, 2049, 4095, 4096, 4097, 5000, 3, 2045, 7} {
			io.WriteString(w, strings.Repeat("x", n))
			w.Write(random(n))
		}
	}},
	{"gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 1000 {
			io.WriteString(z, "hello, hello, ")
		}
		z.Close()
	}},
	{"copy of a reader that writes itself", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, bytes.NewReader(random(10000))) }},
	{"copy, less than is sniffed", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, plain{bytes.NewReader(random(511))}) }},
	{"copy, what is sniffed", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, plain{bytes.NewReader(random(512))}) }},
	{"copy, more than is sniffed", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, plain{bytes.NewReader(random(600))}) }},
	{"copy, a lot", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, plain{bytes.NewReader(random(200000))}) }},
	{"copy of nothing", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, plain{strings.NewReader("")}) }},
	{"copies and writes", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "head")
		io.Copy(w, plain{strings.NewReader("short")})
		io.Copy(w, plain{bytes.NewReader(random(3000))})
		io.WriteString(w, "tail")
		io.Copy(w, plain{bytes.NewReader(random(300))})
	}},
	{"copy with status and length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "70000")
		w.WriteHeader(201)
		io.Copy(w, plain{bytes.NewReader(random(70000))})
	}},
	{"served content", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.bin", time.Unix(1e9, 0), bytes.NewReader(random(50000)))
	}},
	{"flush first", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "<html>hello")
	}},
	{"flush between", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(202)
		for i := range 5 {
			fmt.Fprintf(w, "part %d", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			w.(http.Flusher).Flush()
		}
	}},
	{"flush last", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
	}},
	{"flush after the header", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(201)
		w.(http.Flusher).Flush()
	}},
	{"status twice", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(201)
		w.WriteHeader(500)
		io.WriteString(w, "hello")
		w.WriteHeader(500)
	}},
	{"status after the body", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.WriteHeader(500)
	}},
	{"header changed after the status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "1")
		w.Header().Set("X-B", "1")
		w.WriteHeader(201)
		w.Header().Set("X-A", "2")
		w.Header().Del("X-B")
		w.Header().Add("X-C", "3")
		io.WriteString(w, "hello")
	}},
	{"header changed after the first write", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.Header().Set("X-A", "1")
	}},
	{"value changed in place", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "1")
		w.WriteHeader(201)
		w.Header()["X-A"][0] = "2"
	}},
	{"informational", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(102)
		w.Header().Set("X-A", "1")
		w.WriteHeader(201)
		io.WriteString(w, "hello")
	}},
	{"announced trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Count")
		w.Header().Add("Trailer", "X-Absent")
		io.WriteString(w, "hello")
		w.Header().Set("X-Sum", "abc")
		w.Header().Set("X-Count", "5")
	}},
	{"announced trailers without a body", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(200)
		w.Header().Set("X-Sum", "abc")
	}},
	{"trailers by prefix, small", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "abc")
	}},
	{"trailers by prefix, set before", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(http.TrailerPrefix+"X-Sum", "abc")
		io.WriteString(w, "hello")
	}},
	{"trailers by prefix, flushed", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "abc")
	}},
	{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
	{"204 with a body", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(204)
		if _, err := io.WriteString(w, "hello"); err != http.ErrBodyNotAllowed {
			panic(err)
		}
	}},
	{"304 with fields", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"x"`)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(304)
	}},
	{"several cookies", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", i), Value: "a b, c", Expires: time.Unix(2e9, 0)})
		}
		w.Header().Add("Vary", "A")
		w.Header().Add("Vary", "B, C")
		io.WriteString(w, "hello")
	}},
	{"odd fields", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["x-lower"] = []string{"1"}
		w.Header()["X-Empty"] = []string{""}
		w.Header()["X-Space"] = []string{"  a  b  "}
		w.Header()["X-Inject"] = []string{"a\r\nX-Evil: 1"}
		w.Header()["X Bad"] = []string{"1"}
		w.Header()["X-None"] = nil
	}},
	{"own date", func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil }},
	{"length too small", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		if n, err := io.WriteString(w, "hello"); n != 0 || err != http.ErrContentLength {
			panic(fmt.Sprint(n, err))
		}
	}},
	{"length too small for the second write", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
		if n, err := io.WriteString(w, "x"); n != 0 || err != http.ErrContentLength {
			panic(fmt.Sprint(n, err))
		}
	}},
	{"length is no number", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "five")
		io.WriteString(w, "hello")
	}},
	{"connection closed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close, X-Hop")
		w.Header().Set("X-Hop", "1")
		io.WriteString(w, "hello")
	}},
	{"transfer encoding said", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		io.WriteString(w, "hello")
	}},
	{"status 500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oops", 500) }},
	{"status 429", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "slow down", http.StatusTooManyRequests) }},
	{"redirection", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusSeeOther) }},
	{"deadlines", func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			panic(err)
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			panic(err)
		}
		io.WriteString(w, "hello")
	}},
	{"echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, r.URL, r.ContentLength, r.TransferEncoding, string(b), err, r.Trailer)
	}},
}

// raw sends a request on a connection of its own, and returns all that comes back, less the date.
func raw(t *testing.T, s *httptest.Server, key string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "POST /things HTTP/1.1\r\nHost: test\r\nX-User: alice\r\nIdempotency-Key: %s\r\n"+
		"Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", key)
	all := readAll(t, conn)
	if i := bytes.Index(all, []byte("Date: ")); i >= 0 {
		end := bytes.Index(all[i:], []byte("\r\n"))
		all = slices.Delete(all, i, i+end+2)
	}
	return all
}

// To the client the middleware makes no difference, down to the last byte.
func TestFirstResponseIsTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	m := newMiddleware(t, oncehttp.Config{})
	for _, c := range wireHandlers {
		t.Run(c.name, func(t *testing.T) {
			bare, guarded := newServer(t, c.handler), newServer(t, m.Wrap(c.handler))
			want, got := raw(t, bare, c.name), raw(t, guarded, quote(c.name))
			if !bytes.Equal(got, want) {
				t.Errorf("with the middleware:\n%.1000q\nwithout:\n%.1000q", got, want)
			}
		})
	}
}

func quote(s string) string { return `"` + s + `"` }

// onceMore are the fields in which a replay may differ from the first response, by default.
var onceMore = []string{"Date", "Set-Cookie", "Cache-Control", "Idempotency-Replayed", "Connection", "X-Hop"}

func TestReplayIsTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	m := newMiddleware(t, oncehttp.Config{Keep: oncehttp.KeepAll})
	for _, c := range wireHandlers {
		t.Run(c.name, func(t *testing.T) {
			h := &counter{next: c.handler}
			s := newServer(t, m.Wrap(h))
			first := parse(t, raw(t, s, quote(c.name)))
			second := parse(t, raw(t, s, quote(c.name)))
			h.wantRuns(t, 1)
			if second.header.Get("Idempotency-Replayed") != "true" || second.header.Get("Cache-Control") != "no-store" {
				t.Errorf("replay is not marked: %v", second.header)
			}
			second.wantSame(t, first)
		})
	}
}

// A reply is a response, taken apart.
type reply struct {
	status  int
	header  http.Header
	length  int64
	coding  []string
	body    []byte
	err     error
	trailer http.Header
}

func parse(t *testing.T, wire []byte) reply {
	t.Helper()
	b := bufio.NewReader(bytes.NewReader(wire))
	for {
		res, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatalf("%v: %.300q", err, wire)
		}
		if res.StatusCode >= 200 {
			return replyOf(res)
		}
	}
}

func replyOf(res *http.Response) reply {
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, res.ContentLength, res.TransferEncoding, body, err, res.Trailer}
}

func (r reply) wantSame(t *testing.T, first reply) {
	t.Helper()
	if r.status != first.status || r.length != first.length || !slices.Equal(r.coding, first.coding) {
		t.Errorf("status, length, coding: %d, %d, %q; want %d, %d, %q",
			r.status, r.length, r.coding, first.status, first.length, first.coding)
	}
	if !bytes.Equal(r.body, first.body) || r.err != first.err {
		t.Errorf("body has %d bytes, %v; want %d, %v", len(r.body), r.err, len(first.body), first.err)
	}
	got, want := maps.Clone(r.header), maps.Clone(first.header)
	for _, name := range onceMore {
		delete(got, name)
		delete(want, name)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("header is %v\nwant %v", got, want)
	}
	if fmt.Sprint(r.trailer) != fmt.Sprint(first.trailer) {
		t.Errorf("trailer is %v, want %v", r.trailer, first.trailer)
	}
}

func TestResponsesAreTheSameOverHTTP2(t *testing.T) {
	t.Parallel()
	m := newMiddleware(t, oncehttp.Config{Keep: oncehttp.KeepAll})
	cases := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range wireHandlers {
			if r.Header.Get("Idempotency-Key") == quote(c.name) {
				c.handler(w, r)
			}
		}
	})
	bare, guarded := newServer2(t, cases), newServer2(t, m.Wrap(cases))
	for _, c := range wireHandlers {
		if strings.HasPrefix(c.name, "length too small") || c.name == "odd fields" {
			continue // malformed in HTTP/2, whose server lets it pass
		}
		t.Run(c.name, func(t *testing.T) {
			want := send2(t, bare, c.name)
			first := send2(t, guarded, c.name)
			first.wantSame(t, want)
			if first.header.Get("Idempotency-Replayed") != "" {
				t.Error("the first response is marked as a replay")
			}
			if fmt.Sprint(first.header["Set-Cookie"]) != fmt.Sprint(want.header["Set-Cookie"]) {
				t.Errorf("cookies are %q, want %q", first.header["Set-Cookie"], want.header["Set-Cookie"])
			}
			second := send2(t, guarded, c.name)
			if len(first.trailer) > 0 && first.length < 0 {
				second.length = -1 // may be told or not
				second.header.Del("Content-Length")
			}
			second.wantSame(t, first)
			if second.header.Get("Idempotency-Replayed") != "true" {
				t.Error("the replay is not marked")
			}
		})
	}
}

func newServer2(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{} // the server's own: it is changed
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func send2(t *testing.T, s *httptest.Server, key string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/things", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-User", "alice")
	r.Header.Set("Idempotency-Key", quote(key))
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	if err != nil {
		return reply{err: fmt.Errorf("no response")} // the stream was reset, as it must then be each time
	}
	if res.ProtoMajor != 2 {
		t.Fatal("the server does not speak HTTP/2")
	}
	return replyOf(res)
}
