package wire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once/cmd/once/internal/wire"
)

// serve starts a server behind the listener that echoes bodies, and returns its address and the
// number of requests its handler has seen with their bodies read whole.
func serve(t *testing.T, l *wire.Listener) (string, *atomic.Int64) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Listener = tcp
	var served atomic.Int64
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		ConnState:         wire.StateHook,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") == "echo" {
				echo(w)
				return
			}
			b, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, "body", http.StatusBadRequest)
				return
			}
			served.Add(1)
			fmt.Fprintf(w, "version %d, %s", r.ProtoMajor, b)
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return tcp.Addr().String(), &served
}

func echo(w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	line, _ := rw.ReadString('.')
	io.WriteString(c, line)
}

// exchange writes the pieces one after the other and reads to the end.
func exchange(t *testing.T, addr string, pieces ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	for i, p := range pieces {
		if i > 0 {
			time.Sleep(2 * time.Millisecond) // so that the pieces arrive apart
		}
		if _, err := io.WriteString(c, p); err != nil {
			break // refused before it was all sent
		}
	}
	b, _ := io.ReadAll(c) // a reset after the answer is no matter
	return string(b)
}

const end = "Connection: close\r\n\r\n"

var requests = []struct {
	name   string
	raw    string
	status int // of the last response
	served int64
}{
	{"no body", "GET / HTTP/1.1\r\nHost: a\r\n" + end, 200, 1},
	{"length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + end + "hello", 200, 1},
	{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "5\r\nhello\r\n0\r\n\r\n", 200, 1},
	{"chunk extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n" + end + "5;a=b\r\nhello\r\n0\r\n\r\n", 200, 1},
	{"trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "5\r\nhello\r\n0\r\nX: y\r\n\r\n", 200, 1},
	{"two in a row", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + end, 200, 3},
	{"version 1.0", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", 200, 1},
	{"length and coding", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" + end + "0\r\n\r\n", 400, 0},
	{"coding and length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n" + end + "0\r\n\r\n", 400, 0},
	{"same length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n" + end + "hi", 400, 0},
	{"length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n" + end + "hi", 400, 0},
	{"signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n" + end + "hi", 400, 0},
	{"empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n" + end, 400, 0},
	{"two codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + end + "0\r\n\r\n", 400, 0},
	{"coding list", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n" + end + "0\r\n\r\n", 400, 0},
	{"unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n" + end + "0\r\n\r\n", 400, 0},
	{"coding in version 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 0},
	{"space before colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n" + end + "hi", 400, 0},
	{"bare LF after field", "POST / HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n" + end + "hi", 400, 0},
	{"bare LF after request line", "GET / HTTP/1.1\nHost: a\r\n" + end, 400, 0},
	{"bare LF ends head", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\n", 400, 0},
	{"bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n" + end, 400, 0},
	{"NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n" + end, 400, 0},
	{"folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n" + end, 400, 0},
	{"folded with tab", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tTransfer-Encoding: chunked\r\n" + end, 400, 0},
	{"space before first field", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n" + end, 400, 0},
	{"field without name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n" + end, 400, 0},
	{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + end, 400, 0},
	{"no host", "GET / HTTP/1.1\r\n" + end, 400, 0},
	{"empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n" + end, 400, 0},
	{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n" + end, 400, 0},
	{"version 0.9", "GET /\r\n", 400, 0},
	{"chunk size with prefix", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "0x2\r\nhi\r\n0\r\n\r\n", 400, 0},
	{"chunk size with underscore", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "0_2\r\nhi\r\n0\r\n\r\n", 400, 0},
	{"chunk size ends in bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "2\nhi\r\n0\r\n\r\n", 400, 0},
	{"chunk extension ends in bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "2;x\nhi\r\n0\r\n\r\n", 400, 0},
	{"extension that hides a chunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "5;\n\r\nnot a field\r\n\r\n0\r\n\r\n", 400, 0},
	{"chunk longer than its size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "2\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"last chunk ends in bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "2\r\nhi\r\n0\r\n\n", 400, 0},
	{"folded trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + end + "2\r\nhi\r\n0\r\nX: a\r\n b\r\n\r\n", 400, 0},
	{"second of two is ambiguous", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 1},
	{"false HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\nX: y\r\n" + end, 400, 0},
	{"almost HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 400, 0},
	{"HTTP/2 preface later", "GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 1},
}

func TestEveryRequestCanBeReadInOneWayOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr, served := serve(t, &wire.Listener{})
			checkLast(t, exchange(t, addr, tt.raw), tt.status)
			if got := served.Load(); got != tt.served {
				t.Errorf("whole: handler served %d requests, want %d", got, tt.served)
			}
			addr, served = serve(t, &wire.Listener{})
			var pieces []string
			for b := range strings.SplitSeq(tt.raw, "") {
				pieces = append(pieces, b)
			}
			checkLast(t, exchange(t, addr, pieces...), tt.status)
			if got := served.Load(); got != tt.served {
				t.Errorf("byte by byte: handler served %d requests, want %d", got, tt.served)
			}
		})
	}
}

// checkLast compares the status of the last response in the stream.
func checkLast(t *testing.T, stream string, status int) {
	t.Helper()
	i := strings.LastIndex(stream, "HTTP/1.")
	if i < 0 || len(stream) < i+12 {
		t.Errorf("no response in %q", stream)
		return
	}
	if got := stream[i+9 : i+12]; got != fmt.Sprint(status) {
		t.Errorf("last status is %s, want %d, in %q", got, status, stream)
	}
}

func TestHTTP2WithPriorKnowledgePasses(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, &wire.Listener{})
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Post("http://"+addr, "text/plain", strings.NewReader("a\nb\x00"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "version 2, a\nb\x00" {
		t.Errorf("got %q", b)
	}
}

func TestHijackedConnectionIsNotFollowed(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, &wire.Listener{})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br := bufio.NewReader(c)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	io.WriteString(c, "\n\n\x00 bare.")
	if b, err := io.ReadAll(br); err != nil || string(b) != "\n\n\x00 bare." {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestClientThatReadsNothingIsDropped(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe() // has no buffer: a write waits for its reader
	defer client.Close()
	c := wire.NewConn(server, 50*time.Millisecond)
	if _, err := c.Write([]byte("x")); err == nil {
		t.Fatal("write to a client that does not read succeeded")
	} else if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Fatalf("got %v, want a timeout", err)
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	t.Parallel()
	addr, served := serve(t, &wire.Listener{Max: 1})
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(first, request)
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	io.WriteString(second, request)
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); err == nil || served.Load() != 1 {
		t.Errorf("second connection was served: %v", err)
	}
	first.Close()
	second.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
}

func TestListenerPassesOnItsEnd(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 1} {
		done := make(chan error, 1)
		srv := &http.Server{}
		go func() { done <- srv.Serve(&wire.Listener{Listener: tcp, Max: limit}) }()
		srv.Shutdown(context.Background())
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("got %v", err)
		}
	}
}
