package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// broken runs a service that reads each request whole and answers with the given bytes, then hangs
// up. It counts the requests.
func broken(t *testing.T, raw string) (url string, seen *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				seen.Add(1)
				io.WriteString(c, raw)
			}()
		}
	}()
	return "http://" + l.Addr().String(), seen
}

func refused(t *testing.T) string {
	t.Helper()
	l := listenQuietly(t)
	defer l.Close()
	return "http://" + l.Addr().String()
}

// What a failure of the service means for the operation.
func TestFailuresAreClassified(t *testing.T) {
	t.Parallel()
	const none = once.State(0)
	for _, tt := range []struct {
		name    string
		raw     string // of the service; empty: refused
		status  int
		problem string
		state   once.State // of the record after it
		again   int        // status of a retry
	}{
		{"refused", "refused", 503, "upstream-unreachable", none, 503},
		{"died before the response", "", 502, "upstream-broken", once.InDoubt, 500},
		{"died in the head", "HTTP/1.1 200 OK\r\nConte", 502, "upstream-broken", once.InDoubt, 500},
		{"died in the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 502, "upstream-broken", once.InDoubt, 500},
		{"died in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 502, "upstream-broken", once.InDoubt, 500},
		{"not HTTP", "hello\r\n\r\n", 502, "upstream-broken", once.InDoubt, 500},
		{"done", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "", once.Done, 200},
		{"refused by the service", "HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\nno", 422, "", once.Done, 422},
		{"busy", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503, "", none, 503},
		{"throttled", "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", 429, "", none, 429},
		{"internal error", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, "", once.InDoubt, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, seen := broken(t, tt.raw)
			if tt.raw == "refused" {
				url, seen = refused(t), new(atomic.Int64)
			}
			r := start(t, url)
			a := r.post("/", "k", "x")
			if a.status != tt.status || (tt.problem != "" && a.problem() != tt.problem) {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, tt.status, tt.problem)
			}
			recs := r.records()
			if tt.state == none && len(recs) != 0 || tt.state != none && (len(recs) != 1 || recs[0].State != tt.state) {
				t.Errorf("records: %v, want %v", recs, tt.state)
			}
			calls := seen.Load()
			if again := r.post("/", "k", "x"); again.status != tt.again {
				t.Errorf("retry: got %d %s, want %d", again.status, again.body, tt.again)
			}
			if tt.state != none && seen.Load() != calls {
				t.Error("the service was asked again under hold")
			}
		})
	}
}

func TestTimeoutIsInDoubt(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	url := service(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	r := start(t, url, "--upstream-timeout", "100ms")
	if a := r.post("/", "k", "x"); a.status != 504 || a.problem() != "upstream-timeout" {
		t.Errorf("got %+v", a)
	}
	if a := r.post("/", "k", "x"); a.status != 500 || a.problem() != "in-doubt" {
		t.Errorf("retry: got %+v", a)
	}
	if a := r.do(request(t, "GET", "http://"+r.addr, "")); a.status != 502 {
		t.Errorf("unguarded: got %+v", a)
	}
}

func TestRerunTellsTheServiceWhichAttemptItIs(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	derived := make(chan string, 10)
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		derived <- r.Header.Get("Once-Derived-Key")
		if n.Add(1) < 3 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "attempt %s", r.Header.Get("Once-Attempt"))
	})
	r := start(t, url, "--in-doubt", "rerun")
	for range 2 {
		if a := r.post("/", "k", "x"); a.status != 502 {
			t.Errorf("got %+v", a)
		}
	}
	if a := r.post("/", "k", "x"); a.status != 200 || a.body != "attempt 3" {
		t.Errorf("got %+v", a)
	}
	if a, b, c := <-derived, <-derived, <-derived; a == "" || a != b || b != c {
		t.Errorf("derived keys differ: %s, %s, %s", a, b, c)
	}
}

func TestUnreachedServiceKeepsTheDoubtOfEarlierAttempts(t *testing.T) {
	t.Parallel()
	l := listenQuietly(t)
	r := start(t, "http://"+l.Addr().String(), "--in-doubt", "rerun", "--max-attempts", "2")
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		l.Close() // from now on it is refused
		http.ReadRequest(bufio.NewReader(c))
		c.Close()
	}()
	for i, want := range []int{502, 503, 500} {
		if a := r.post("/", "k", "x"); a.status != want {
			t.Errorf("try %d: got %+v, want %d", i+1, a, want)
		}
	}
	if recs := r.records(); len(recs) != 1 || recs[0].State != once.InDoubt || recs[0].Attempt != 2 {
		t.Errorf("got %+v", recs)
	}
}

func TestServiceThatComesUpLateIsReached(t *testing.T) {
	t.Parallel()
	l := listenQuietly(t)
	addr := l.Addr().String()
	l.Close()
	r := start(t, "http://"+addr, "--upstream-retries", "1000")
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up") })}
	t.Cleanup(func() { srv.Close() })
	time.AfterFunc(50*time.Millisecond, func() {
		if l, err := net.Listen("tcp", addr); err == nil {
			srv.Serve(l)
		}
	})
	if a := r.post("/", "k", "x"); a.status != 200 {
		t.Errorf("guarded: got %+v", a)
	}
	if a := r.do(request(t, "POST", "http://"+r.addr, "x")); a.status != 200 {
		t.Errorf("unguarded: got %+v", a)
	}
}

func TestClientThatHangsUpDoesNotStopTheOperation(t *testing.T) {
	t.Parallel()
	enter, leave := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	url := service(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		close(enter)
		<-leave
		io.WriteString(w, "charged")
	})
	r := start(t, url, "--wait", "20s")
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+r.addr+"\r\nX-Tenant: acme\r\nIdempotency-Key: k\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 1\r\n\r\nx")
	<-enter
	c.Close()
	close(leave)
	if a := r.post("/", "k", "x"); a.status != 200 || a.body != "charged" || !a.replayed() || calls.Load() != 1 {
		t.Errorf("got %+v after %d calls", a, calls.Load())
	}
}

func TestDrainBreaksOffWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	enter, release := make(chan struct{}), make(chan struct{})
	url := service(t, func(http.ResponseWriter, *http.Request) { close(enter); <-release })
	t.Cleanup(func() { close(release) })
	r := start(t, url, "--drain", "50ms")
	done := make(chan answer, 1)
	go func() {
		a, _ := r.try(request(t, "POST", "http://"+r.addr, "x", "tenant", "acme", "key", "k"))
		done <- a
	}()
	<-enter
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	<-done // whatever it says: 502, or nothing
	if recs := r.records(); len(recs) != 1 || recs[0].State != once.InDoubt {
		t.Errorf("got %+v, want one in doubt", recs)
	}
}

// net/http's transport takes a key for a promise of the service and sends such a request again when a
// connection breaks. The gateway must not, guarded or not.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"optional", "off"} {
		for _, body := range []string{"", "x"} {
			var seen atomic.Int64
			l := listenQuietly(t)
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						br := bufio.NewReader(c)
						for n := 0; n < 2; n++ { // the first request of a connection is answered, the second not
							r, err := http.ReadRequest(br)
							if err != nil {
								return
							}
							io.Copy(io.Discard, r.Body)
							if seen.Add(1); n == 0 {
								io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
							}
						}
					}()
				}
			}()
			r := start(t, "http://"+l.Addr().String(), "--key", mode, "--upstream-retries", "5")
			r.post("/", "k1", body)
			if a := r.post("/", "k2", body); a.status != 502 || seen.Load() != 2 {
				t.Errorf("key %s, body %q: got %+v after %d requests, want 502 after 2", mode, body, a, seen.Load())
			}
		}
	}
}

func TestLargeResponseIsStreamedAndNotRunAgain(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	big := strings.Repeat("x", 100_000)
	url := service(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, big)
	})
	r := start(t, url, "--response-body", "64KiB")
	if a := r.post("/", "k", "x"); a.status != 200 || a.body != big {
		t.Errorf("got %d and %d bytes", a.status, len(a.body))
	}
	if a := r.post("/", "k", "x"); a.status != 410 || calls.Load() != 1 {
		t.Errorf("retry: got %+v after %d calls", a, calls.Load())
	}
}

func TestLargeResponseThatIsCutOffIsCutOffForTheClient(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]string{"length": "Content-Length: 100000\r\n\r\n", "chunks": "Transfer-Encoding: chunked\r\n\r\n186a0\r\n"} {
		url, _ := broken(t, "HTTP/1.1 200 OK\r\n"+frame+strings.Repeat("x", 90_000))
		r := start(t, url, "--response-body", "1KiB")
		a, err := r.try(request(t, "POST", "http://"+r.addr, "x", "tenant", "acme", "key", "k"))
		if err == nil {
			t.Errorf("%s: client was told that %d bytes are all", name, len(a.body))
		}
	}
}

func TestUnguardedStreamsAndUpgradesPass(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	url := service(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "echo" {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			b, _ := rw.ReadString('.')
			io.WriteString(c, b)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\n")
		http.NewResponseController(w).Flush()
		<-next
		io.WriteString(w, "data: 2\n\n")
	})
	r := start(t, url)
	resp, err := http.DefaultTransport.RoundTrip(request(t, "POST", "http://"+r.addr, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: 1\n\n" {
		t.Errorf("got %q, %v before the end", first, err)
	}
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "data: 2\n\n" {
		t.Errorf("got %q, %v", rest, err)
	}
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br := bufio.NewReader(c)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade: got %v, %v", resp, err)
	}
	io.WriteString(c, "ping\n\n.") // no HTTP
	if b, err := io.ReadAll(br); err != nil || string(b) != "ping\n\n." {
		t.Errorf("upgrade: got %q, %v", b, err)
	}
}
