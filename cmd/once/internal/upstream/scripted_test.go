package upstream_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once/cmd/once/internal/upstream"
)

// A script is what a server does with its n-th request, counted from 1, after it has read it.
type script func(n int64, c net.Conn, r *http.Request)

type server struct {
	addr string
	seen atomic.Int64 // requests read whole
	mu   sync.Mutex
	last *http.Request
}

// start runs a server that speaks as the script says, byte for byte.
func start(t *testing.T, play script) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var open sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			wg.Go(func() {
				defer c.Close()
				for br := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					s.mu.Lock()
					s.last = r
					s.mu.Unlock()
					play(s.seen.Add(1), c, r)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return s
}

func answer(text string) script {
	return func(_ int64, c net.Conn, _ *http.Request) { io.WriteString(c, text) }
}

func client(t *testing.T, addr string, change ...func(*upstream.Config)) *upstream.Client {
	t.Helper()
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" {
		u = &url.URL{Scheme: "http", Host: addr}
	}
	cfg := upstream.Config{URL: u, Connect: 10 * time.Second, Idle: time.Minute, MaxIdle: 8}
	for _, f := range change {
		f(&cfg)
	}
	c, err := upstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func post(body string) *upstream.Request {
	return &upstream.Request{Method: "POST", Target: "/charges?x=1", Host: "pay.example", Body: []byte(body), Timeout: 20 * time.Second,
		Header: http.Header{"Idempotency-Key": {`"k"`}, "Content-Type": {"text/plain"}}}
}

func read(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func failure(t *testing.T, resp *http.Response, err error) *upstream.Error {
	t.Helper()
	ue, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		t.Fatalf("got %v, %v, want an *upstream.Error", resp, err)
	}
	return ue
}

func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Write(b)
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// listenQuietly listens on a port that the system gives to nobody by itself: when it is closed, no
// other test is there all of a sudden.
func listenQuietly(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000)))
		if err == nil {
			return l
		}
	}
	t.Fatal("no port is free")
	return nil
}
