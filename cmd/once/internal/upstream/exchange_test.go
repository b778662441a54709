package upstream_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once/cmd/once/internal/upstream"
)

func TestResponsesAreReadWhole(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, raw, body string
		status                  int
		reused                  bool
	}{
		{"length", "POST", ok, "ok", 200, true},
		{"chunked", "POST", "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", "ok", 201, true},
		{"informational first", "POST", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + ok, "ok", 200, true},
		{"no content", "POST", "HTTP/1.1 204 No Content\r\n\r\n", "", 204, true},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", 200, true},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", 304, true},
		{"empty", "POST", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 200, true},
		{"says close", "POST", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", 200, false},
		{"version 1.0", "POST", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 200, false},
		{"more than asked for", "POST", ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ok", 200, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var conns sync.Map
			s := start(t, func(_ int64, c net.Conn, _ *http.Request) {
				conns.Store(c.RemoteAddr().String(), nil)
				io.WriteString(c, tt.raw)
			})
			c := client(t, s.addr)
			for range 2 {
				r := post("x")
				r.Method = tt.method
				resp, err := c.Do(t.Context(), r)
				if got := read(t, resp, err); got != tt.body || resp.StatusCode != tt.status {
					t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, tt.status, tt.body)
				}
			}
			n := 0
			conns.Range(func(any, any) bool { n++; return true })
			if reused := n == 1; reused != tt.reused {
				t.Errorf("%d connections for 2 requests", n)
			}
		})
	}
}

func TestSlowResponsesAreWaitedFor(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string][]string{
		"late":             {"", ok},
		"head in pieces":   {"HTTP/1.1 200 OK\r\nConte", "nt-Length: 2\r\n", "\r\nok"},
		"late body":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "o", "k"},
		"late chunks":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no", "\r\n1\r\nk\r\n", "0\r\n\r\n"},
		"informational":    {"HTTP/1.1 103 Early Hints\r\n\r\n", ok},
		"until the end":    {"HTTP/1.0 200 OK\r\n\r\no", "k"},
		"late on one used": {ok, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(_ int64, c net.Conn, _ *http.Request) {
				for _, p := range parts {
					io.WriteString(c, p)
					time.Sleep(70 * time.Millisecond) // longer than an exchange goes unwatched
				}
				if name == "until the end" {
					c.Close()
				}
			})
			c := client(t, s.addr)
			for range 2 {
				resp, err := c.Do(t.Context(), post("x"))
				if got := read(t, resp, err); got != "ok" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
}

func TestContextEndsALateBody(t *testing.T) {
	t.Parallel()
	s := start(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"))
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := client(t, s.addr).Do(ctx, post("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	time.AfterFunc(10*time.Millisecond, cancel)
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("read %q without an error", b)
	}
}

func TestBrokenResponsesAreErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, raw string
		inBody    bool
	}{
		{"nothing", "", false},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", false},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", false},
		{"switched protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", false},
		{"short body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", true},
		{"short chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", true},
		{"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(_ int64, c net.Conn, _ *http.Request) {
				io.WriteString(c, tt.raw)
				c.Close()
			})
			resp, err := client(t, s.addr).Do(t.Context(), post("x"))
			if !tt.inBody {
				if ue := failure(t, resp, err); !ue.Sent {
					t.Errorf("got %v, want sent", ue)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("read %q without an error", b)
			}
		})
	}
}

func TestAnswerBeforeTheBodyWasRead(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		bufio.NewReaderSize(c, 16).ReadString('\n')
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		c.(*net.TCPConn).CloseWrite()
		time.Sleep(50 * time.Millisecond)
		c.Close()
	}()
	r := post(strings.Repeat("x", 32<<20)) // more than the sockets hold
	resp, err := client(t, l.Addr().String()).Do(t.Context(), r)
	if err != nil {
		// The reset may overtake the answer; then the request is in doubt, not released.
		if ue := failure(t, resp, err); !ue.Sent {
			t.Fatalf("got %v, want sent", ue)
		}
		return
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("got %d, want 413", resp.StatusCode)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	s := start(t, answer(ok))
	r := post("body")
	r.Header = http.Header{
		"Connection": {"close, X-Hop"}, "X-Hop": {"1"}, "Keep-Alive": {"1"}, "Te": {"trailers"}, "Upgrade": {"h2c"},
		"Transfer-Encoding": {"chunked"}, "Content-Length": {"99"}, "Expect": {"100-continue"},
		"X-Multi": {"a", "b"}, "Accept": {"*/*"},
	}
	r.Extra = []upstream.Field{{Name: "Once-Attempt", Value: "2"}}
	resp, err := client(t, "http://"+s.addr+"/base/").Do(t.Context(), r)
	read(t, resp, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.last
	if got.Host != "pay.example" || got.RequestURI != "/base/charges?x=1" || got.ContentLength != 4 {
		t.Errorf("got %s %s, length %d", got.Host, got.RequestURI, got.ContentLength)
	}
	want := http.Header{"X-Multi": {"a", "b"}, "Accept": {"*/*"}, "Once-Attempt": {"2"}, "Content-Length": {"4"}}
	for name := range got.Header {
		if strings.Join(got.Header[name], "|") != strings.Join(want[name], "|") {
			t.Errorf("%s: got %q, want %q", name, got.Header[name], want[name])
		}
	}
	if len(got.Header) != len(want) {
		t.Errorf("got %v, want %v", got.Header, want)
	}
}

func TestUnsendableRequestIsNotSent(t *testing.T) {
	t.Parallel()
	s := start(t, answer(ok))
	c := client(t, s.addr)
	for name, change := range map[string]func(*upstream.Request){
		"space in target": func(r *upstream.Request) { r.Target = "/a HTTP/1.1" },
		"LF in target":    func(r *upstream.Request) { r.Target = "/a\n" },
		"CR in value":     func(r *upstream.Request) { r.Header.Set("X", "a\rb") },
		"LF in name":      func(r *upstream.Request) { r.Header["X\n"] = []string{"a"} },
		"LF in host":      func(r *upstream.Request) { r.Host = "a\nb" },
		"LF in extra":     func(r *upstream.Request) { r.Extra = []upstream.Field{{Name: "X", Value: "a\n"}} },
		"no method":       func(r *upstream.Request) { r.Method = "" },
	} {
		r := post("x")
		change(r)
		resp, err := c.Do(t.Context(), r)
		if ue := failure(t, resp, err); ue.Sent {
			t.Errorf("%s: got %v, want not sent", name, ue)
		}
	}
	if n := s.seen.Load(); n != 0 {
		t.Errorf("server saw %d requests", n)
	}
}

func TestUnusedConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer close(gone)
		br := bufio.NewReader(c)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, ok)
		br.ReadByte() // until the client hangs up
	}()
	c := client(t, l.Addr().String(), func(cfg *upstream.Config) { cfg.Idle = 20 * time.Millisecond })
	resp, err := c.Do(t.Context(), post("x"))
	read(t, resp, err)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the connection is still open")
	}
}
