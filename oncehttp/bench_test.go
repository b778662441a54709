package oncehttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// discard is a ResponseWriter that costs as little as possible.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// echoJSON reads the request and answers with 1 KB.
func echoJSON() http.Handler {
	answer := bytes.Repeat([]byte(`{"a":"bcdefg"} `), 68)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		w.Write(answer)
	})
}

// payload is 500 bytes of JSON.
func payload() []byte {
	b := []byte(`{"account":"acct_1","amount":1200,"currency":"eur","customer":{"id":"cus_1","name":"A. Customer"}`)
	for i := 0; len(b) < 480; i++ {
		b = append(b, `,"f`+strconv.Itoa(100+i)+`":"value `+strconv.Itoa(i)+`"`...)
	}
	return append(b, '}')
}

// benchRequest returns a request as a server makes it, with a context that can be cancelled.
func benchRequest(b *testing.B, body []byte) (r *http.Request, rewind func(key string)) {
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "POST", "/charges", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-User", "alice")
	r.Header.Set("Idempotency-Key", "")
	reader := bytes.NewReader(body)
	closer := io.NopCloser(reader)
	r.ContentLength = int64(len(body))
	return r, func(key string) {
		reader.Reset(body)
		r.Body = closer
		r.Header["Idempotency-Key"][0] = key
	}
}

// BenchmarkInProcess measures what the middleware adds, without a network.
func BenchmarkInProcess(b *testing.B) {
	body := payload()
	keys := make([]string, 1<<10)
	for i := range keys {
		keys[i] = "8e03978e-40d5-43e8-bc93-" + strconv.Itoa(1e11+i)
	}
	serve := func(h http.Handler, key func(i int) string) func(*testing.B) {
		return func(b *testing.B) {
			r, rewind := benchRequest(b, body)
			w := &discard{make(http.Header)}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				clear(w.header)
				rewind(key(i))
				h.ServeHTTP(w, r)
			}
		}
	}
	fresh := func(i int) string { return keys[i%len(keys)] }
	guarded := func() http.Handler {
		g := newGuard(b, once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
		m, err := oncehttp.New(oncehttp.Config{Guard: g, Scope: byUser, Logger: slog.New(slog.DiscardHandler), Retention: 1})
		if err != nil {
			b.Fatal(err)
		}
		return m.Wrap(echoJSON())
	}
	b.Run("bare", serve(echoJSON(), fresh))
	b.Run("fresh", serve(guarded(), fresh))
	b.Run("unkeyed", func(b *testing.B) {
		h := newMiddleware(b, oncehttp.Config{}).Wrap(echoJSON())
		r, rewind := benchRequest(b, body)
		w := &discard{make(http.Header)}
		b.ReportAllocs()
		for b.Loop() {
			clear(w.header)
			rewind("")
			delete(r.Header, "Idempotency-Key")
			h.ServeHTTP(w, r)
			r.Header["Idempotency-Key"] = []string{""}
		}
	})
	b.Run("replay", serve(newMiddleware(b, oncehttp.Config{}).Wrap(echoJSON()), func(int) string { return "k" }))
}

// BenchmarkLoopback measures it over 64 connections of HTTP/1.1, as clients see it. The client
// takes its share of the machine.
func BenchmarkLoopback(b *testing.B) {
	body := payload()
	const conns = 64
	for _, c := range []struct {
		name string
		h    http.Handler
		key  func(i int) string
	}{
		{"bare", echoJSON(), strconv.Itoa},
		{"fresh", newMiddleware(b, oncehttp.Config{}).Wrap(echoJSON()), strconv.Itoa},
		{"replay", newMiddleware(b, oncehttp.Config{}).Wrap(echoJSON()), func(i int) string { return strconv.Itoa(i % conns) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newServer(b, c.h)
			loopback(b, s.Listener.Addr().String(), body, conns, c.key)
		})
	}
}

// loopback sends b.N requests over the connections.
func loopback(b *testing.B, addr string, body []byte, conns int, key func(i int) string) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range conns {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			var out []byte
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				out = append(out[:0], "POST /charges HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nContent-Type: application/json\r\nIdempotency-Key: \""...)
				out = append(out, key(i)...)
				out = append(out, "\"\r\nContent-Length: "...)
				out = strconv.AppendInt(out, int64(len(body)), 10)
				out = append(append(out, "\r\n\r\n"...), body...)
				if _, err := conn.Write(out); err != nil {
					b.Error(err)
					return
				}
				if err := skipResponse(in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// skipResponse reads a response with a Content-Length; 201 is the only status that is expected.
func skipResponse(in *bufio.Reader) error {
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("HTTP/1.1 ")) && !bytes.HasPrefix(line[9:], []byte("201")) {
			return errors.New(string(line))
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			_, err := in.Discard(length)
			return err
		}
	}
}
