package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once/cmd/once/internal/upstream"
)

func TestRefusedConnectionIsNotSent(t *testing.T) {
	t.Parallel()
	l := listenQuietly(t)
	l.Close()
	c := client(t, l.Addr().String(), func(cfg *upstream.Config) { cfg.Retries = 2 })
	resp, err := c.Do(t.Context(), post("x"))
	if ue := failure(t, resp, err); ue.Sent {
		t.Errorf("got %v, want not sent", ue)
	}
}

func TestRetriesUntilServerIsUp(t *testing.T) {
	t.Parallel()
	l := listenQuietly(t)
	addr := l.Addr().String()
	l.Close()
	c := client(t, addr, func(cfg *upstream.Config) { cfg.Retries = 1000 })
	up := make(chan net.Listener, 1)
	time.AfterFunc(50*time.Millisecond, func() {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			up <- nil
			return
		}
		up <- l
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(nc))
			io.WriteString(nc, ok)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp, err := c.Do(ctx, post("x"))
	if l := <-up; l != nil {
		defer l.Close()
	} else {
		t.Skip("somebody else took the port")
	}
	if got := read(t, resp, err); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestServerThatDiesAfterTheRequestIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	s := start(t, func(n int64, c net.Conn, _ *http.Request) {
		if n == 1 {
			io.WriteString(c, ok) // so that the second goes over a used connection
			return
		}
		c.Close()
	})
	c := client(t, s.addr, func(cfg *upstream.Config) { cfg.Retries = 5 })
	resp, err := c.Do(t.Context(), post("x"))
	read(t, resp, err)
	resp, err = c.Do(t.Context(), post("x"))
	if ue := failure(t, resp, err); !ue.Sent || ue.Timeout() {
		t.Errorf("got %v, want sent", ue)
	}
	if n := s.seen.Load(); n != 2 {
		t.Errorf("server saw %d requests, want 2", n)
	}
}

func TestConnectionClosedByServerIsNotUsed(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 10)
	s := start(t, func(_ int64, c net.Conn, _ *http.Request) {
		io.WriteString(c, ok)
		c.Close() // without having said so
		closed <- struct{}{}
	})
	c := client(t, s.addr)
	for range 10 {
		resp, err := c.Do(t.Context(), post("x"))
		if got := read(t, resp, err); got != "ok" {
			t.Fatalf("got %q", got)
		}
		<-closed
		time.Sleep(time.Millisecond) // loopback: the FIN is there
	}
}

func TestTimeoutIsSent(t *testing.T) {
	t.Parallel()
	s := start(t, func(int64, net.Conn, *http.Request) {})
	r := post("x")
	r.Timeout = 50 * time.Millisecond
	resp, err := client(t, s.addr).Do(t.Context(), r)
	if ue := failure(t, resp, err); !ue.Sent || !ue.Timeout() {
		t.Errorf("got %v, want sent and timeout", ue)
	}
}

func TestContextEndsTheExchange(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("lease lost")
	s := start(t, func(int64, net.Conn, *http.Request) { cancel(reason) })
	resp, err := client(t, s.addr).Do(ctx, post("x"))
	if ue := failure(t, resp, err); !ue.Sent || !errors.Is(ue, reason) {
		t.Errorf("got %v, want sent and %v", ue, reason)
	}
}

func TestCloseEndsTheExchange(t *testing.T) {
	t.Parallel()
	var c *upstream.Client
	s := start(t, func(int64, net.Conn, *http.Request) { c.Close() })
	c = client(t, s.addr)
	resp, err := c.Do(t.Context(), post("x"))
	if ue := failure(t, resp, err); !ue.Sent {
		t.Errorf("got %v, want sent", ue)
	}
	resp, err = c.Do(t.Context(), post("x"))
	if ue := failure(t, resp, err); ue.Sent {
		t.Errorf("after Close: got %v, want not sent", ue)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	trusting := client(t, srv.URL, func(cfg *upstream.Config) {
		cfg.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig
	})
	for range 3 {
		resp, err := trusting.Do(t.Context(), post("secret"))
		if got := read(t, resp, err); got != "secret" {
			t.Errorf("got %q", got)
		}
	}
	resp, err := client(t, srv.URL).Do(t.Context(), post("secret"))
	if ue := failure(t, resp, err); ue.Sent {
		t.Errorf("unknown authority: got %v, want not sent", ue)
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()
	c := client(t, srv.URL)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				body := strings.Repeat(string(rune('a'+i)), 1+j*500)
				resp, err := c.Do(t.Context(), post(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != body || err != nil {
					t.Errorf("got %d bytes, %v, want %d of our own", len(got), err, len(body))
				}
			}
		})
	}
	wg.Wait()
}
