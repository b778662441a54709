package oncehttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/retry"
)

var quotedUUID7 = regexp.MustCompile(`^"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$`)

func TestNewTransportReportsEveryProblemAtOnce(t *testing.T) {
	_, err := oncehttp.NewTransport(oncehttp.TransportConfig{
		Header: "no header", TryTimeout: -1, ReplayBody: -2, Retry: retry.Policy{Tries: -1},
	})
	for _, want := range []string{"Header", "TryTimeout", "ReplayBody", "Tries"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

func TestEveryTryCarriesTheSameKeyAndBody(t *testing.T) {
	handler := inTurn(hangUp, answerWith(503), answerWith(429), answerWith(201))
	inBubble(t, handler, func(t *testing.T, s *pipeServer) {
		s.refuse = 1
		res, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), t.Context(), strings.NewReader(`{"amount":1}`))
		wantAnswer(t, res, err, 201)
		if key := s.wantOneKey(t, 4); !quotedUUID7.MatchString(key) {
			t.Errorf("key is %s, want a UUID of version 7 in quotes", key)
		}
	})
}

func TestEachRequestHasAKeyOfItsOwn(t *testing.T) {
	inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
		c := s.client(t, oncehttp.TransportConfig{})
		for range 2 {
			res, err := postTo(t, c, t.Context(), nil)
			wantAnswer(t, res, err, 200)
		}
		if seen := s.requests(); seen[0].key == seen[1].key || seen[0].key >= seen[1].key {
			t.Errorf("keys are %s and %s, want different ones in order", seen[0].key, seen[1].key)
		}
	})
}

func TestTheRequestIsNotChanged(t *testing.T) {
	inBubble(t, inTurn(answerWith(503), answerWith(200)), func(t *testing.T, s *pipeServer) {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://api.test/", strings.NewReader("x"))
		res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
		wantAnswer(t, res, err, 200)
		if len(req.Header) != 0 {
			t.Errorf("the caller's header became %v", req.Header)
		}
	})
}

func TestWhichRequestsAreRepeatedAndKeyed(t *testing.T) {
	for _, c := range []struct {
		method       string
		tries        int
		keyed        bool
		keyedByHosts func(*http.Request) bool
	}{
		{"POST", 2, true, nil},
		{"PATCH", 2, true, nil},
		{"GET", 2, false, nil},
		{"HEAD", 2, false, nil},
		{"PUT", 2, false, nil},
		{"DELETE", 2, false, nil},
		{"OPTIONS", 2, false, nil},
		{"PURGE", 1, false, nil},
		{"POST", 1, false, func(*http.Request) bool { return false }},
		{"PUT", 2, true, func(*http.Request) bool { return true }},
	} {
		t.Run(c.method, func(t *testing.T) {
			inBubble(t, inTurn(answerWith(503), answerWith(200)), func(t *testing.T, s *pipeServer) {
				req, _ := http.NewRequestWithContext(t.Context(), c.method, "http://api.test/", nil)
				res, err := s.client(t, oncehttp.TransportConfig{Keyed: c.keyedByHosts}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				key := s.wantOneKey(t, c.tries)
				if (key != "") != c.keyed {
					t.Errorf("key is %q", key)
				}
			})
		})
	}
}

func TestBodiesWithoutGetBodyAreHeldUpToABound(t *testing.T) {
	const bound = 1000
	for _, c := range []struct {
		name   string
		size   int
		length int64 // said by the request; 0: not said
		tries  int
		sent   int64 // length that the server is told
	}{
		{"empty", 0, 0, 2, 0},
		{"at the bound", bound, 0, 2, bound},
		{"at the bound, length said", bound, bound, 2, bound},
		{"beyond the bound", bound + 1, 0, 1, -1},
		{"beyond the bound, length said", bound + 1, bound + 1, 1, bound + 1},
		{"far beyond the bound", 100 * bound, 0, 1, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, inTurn(answerWith(503), answerWith(200)), func(t *testing.T, s *pipeServer) {
				content := strings.Repeat("x", c.size)
				closed := false
				req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://api.test/", nil)
				req.Body = &closingBody{Reader: iotest.OneByteReader(strings.NewReader(content)), closed: &closed}
				req.ContentLength = c.length
				var stops []error
				res, err := s.client(t, oncehttp.TransportConfig{
					ReplayBody: bound,
					Observe:    func(_ context.Context, try oncehttp.Try) { stops = append(stops, try.Stop) },
				}).Do(req)
				wantAnswer(t, res, err, []int{503, 200}[c.tries-1])
				if s.wantOneKey(t, c.tries) == "" {
					t.Error("there is no key")
				}
				if seen := s.requests()[0]; seen.body != content || seen.length != c.sent {
					t.Errorf("server got %d bytes and was told %d, want %d and %d", len(seen.body), seen.length, c.size, c.sent)
				}
				if !closed {
					t.Error("the body was not closed")
				}
				if last := stops[len(stops)-1]; c.tries == 1 && last != oncehttp.ErrBody {
					t.Errorf("stopped for %v, want ErrBody", last)
				}
			})
		})
	}
}

type closingBody struct {
	io.Reader
	closed *bool
}

func (b *closingBody) Close() error { *b.closed = true; return nil }

func TestABodyThatCannotBeReadIsNotSent(t *testing.T) {
	inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
		broken := errors.New("disk is broken")
		closed := false
		_, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), t.Context(),
			&closingBody{iotest.ErrReader(broken), &closed})
		if !errors.Is(err, broken) || len(s.requests()) != 0 || !closed {
			t.Errorf("error is %v, %d requests were sent, closed: %t", err, len(s.requests()), closed)
		}
	})
}

func TestABodyThatHangsEndsWithTheContext(t *testing.T) {
	inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, w := io.Pipe()
		defer w.Close()
		_, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), ctx, r)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want one of the deadline", err)
		}
	})
}

func TestTrailersAreSentWithEveryTry(t *testing.T) {
	inBubble(t, inTurn(answerWith(503), answerWith(200)), func(t *testing.T, s *pipeServer) {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://api.test/", nil)
		req.Trailer = http.Header{"X-Sum": nil}
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader("abc"), readFunc(func([]byte) (int, error) {
			req.Trailer.Set("X-Sum", "3")
			return 0, io.EOF
		})))
		res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
		wantAnswer(t, res, err, 200)
		for i, seen := range s.requests() {
			if seen.trailer.Get("X-Sum") != "3" {
				t.Errorf("try %d has trailer %v", i+1, seen.trailer)
			}
		}
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestTheResponseComesWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	handler := func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }
	inBubble(t, handler, func(t *testing.T, s *pipeServer) {
		res, err := postTo(t, s.client(t, oncehttp.TransportConfig{TryTimeout: time.Minute}), t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // neither the try's time nor its context may cut the body
		if got := wantAnswer(t, res, nil, 200); got != string(content) {
			t.Errorf("got %d bytes, want %d", len(got), len(content))
		}
	})
}

func TestSwitchedProtocolsCanBeWritten(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, line)
	}
	inBubble(t, handler, func(t *testing.T, s *pipeServer) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://api.test/", nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		conn, ok := res.Body.(io.ReadWriter)
		if !ok {
			t.Fatalf("body is %T, which cannot be written", res.Body)
		}
		io.WriteString(conn, "hello\n")
		if got, _ := io.ReadAll(conn); string(got) != "hello\n" {
			t.Errorf("echo is %q", got)
		}
	})
}
