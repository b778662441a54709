package oncehttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// record returns the outcome that the handler's response is recorded as.
func record(t *testing.T, h http.HandlerFunc) once.Outcome {
	t.Helper()
	store := new(oncemem.Store)
	m := newInner(t, store)
	r := httptest.NewRequest("POST", "/things", nil)
	r.Header.Set("Idempotency-Key", "k")
	m.Wrap(h).ServeHTTP(httptest.NewRecorder(), r)
	rec, err := store.Load(t.Context(), once.Key{Scope: OperationScope("POST", "/things", ""), ID: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return rec.Outcome
}

func newInner(t testing.TB, store once.Store) *Middleware {
	t.Helper()
	g, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Guard: g, DangerouslyShareKeys: true, Keep: KeepAll, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What is stored is documented: any tool can read it.
func TestOutcomeIsAnHTTPMessage(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {},
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/things/1")
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Set-Cookie", "session=1")
			w.WriteHeader(201)
			io.WriteString(w, `{"id":1}`)
		}, "HTTP/1.1 201 Created\r\nContent-Length: 8\r\nContent-Type: application/json\r\nLocation: /things/1\r\n\r\n{\"id\":1}"},
		{"flushed, with trailers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			io.WriteString(w, ", world")
			w.Header().Set("X-Sum", "1")
		}, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"c\r\nhello, world\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"empty, flushed", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"no body", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
			"HTTP/1.1 204 No Content\r\n\r\n"},
		{"injection", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-A"] = []string{"1\r\n\r\nevil", "2"}
			w.Header()["X-B\r\nX-Evil"] = []string{"1"}
		}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: 1    evil\r\nX-A: 2\r\n\r\n"},
	} {
		out := record(t, c.handler)
		if out.Type != "application/http" || string(out.Data) != c.want {
			t.Errorf("%s: outcome is %s %q, want %q", c.name, out.Type, out.Data, c.want)
		}
		if _, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out.Data)), nil); err != nil {
			t.Errorf("%s: net/http cannot read it: %v", c.name, err)
		}
		if _, ok := parseOwn(out.Data, nil); !ok {
			t.Errorf("%s: parseOwn cannot read it", c.name)
		}
	}
	failed := record(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	fine := record(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) })
	if !failed.Failed || fine.Failed {
		t.Error("outcomes are not marked as failed by their status")
	}
	kept := record(t, func(w http.ResponseWriter, r *http.Request) {
		NoStore(r.Context())
		w.Header().Set("Content-Length", "5")
		w.Header().Set("X-A", "1")
		io.WriteString(w, "hello")
	})
	if kept.Type != notKeptType || string(kept.Data) != "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n" {
		t.Errorf("without its body the outcome is %s %q", kept.Type, kept.Data)
	}
}

// An operator may record an outcome that was written by hand.
func TestReplayOfAMessageThatSomebodyElseWrote(t *testing.T) {
	for _, c := range []struct {
		name, outcomeType, data string
		status                  int
		header, body            string
	}{
		{"bare line ends, no order", messageType, "HTTP/1.1 201 Created\nX-B: 1\nX-A: 2\nx-b: 3\n\nhello", 201, "map[X-A:[2] X-B:[1 3]]", "hello"},
		{"two chunks", messageType, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n", 200, "map[X-T:[1]]", "hello!"},
		{"for one hop", messageType, "HTTP/1.1 200\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nhi", 200, "map[Content-Length:[2]]", "hi"},
		{"no message", messageType, "hello", 500, "", ""},
		{"empty", messageType, "", 500, "", ""},
		{"cut off", messageType, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 200, "map[Content-Length:[10]]", "hello"},
		{"another type", "application/json", "{}", 500, "", ""},
	} {
		m := newInner(t, new(oncemem.Store))
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", nil)
		m.replay(w, r, new(scratch), once.Key{Scope: "s", ID: "k"}, once.Outcome{Type: c.outcomeType, Data: []byte(c.data)})
		res := w.Result()
		if res.StatusCode != c.status {
			t.Errorf("%s: status is %d, want %d", c.name, res.StatusCode, c.status)
		}
		if c.status == 500 {
			if !strings.Contains(w.Body.String(), ProblemUnreadable) {
				t.Errorf("%s: the problem is %s", c.name, w.Body)
			}
			continue
		}
		for _, name := range []string{"Cache-Control", "Idempotency-Replayed", "Content-Type", "Trailer"} {
			res.Header.Del(name)
		}
		maps.Copy(res.Header, res.Trailer)
		if fmt.Sprint(res.Header) != c.header || w.Body.String() != c.body {
			t.Errorf("%s: %v %q, want %s %q", c.name, res.Header, w.Body, c.header, c.body)
		}
	}
}

// Whatever parseOwn reads it reads as net/http does.
func FuzzParseMessage(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 299 \r\n\r\n", "HTTP/1.1 200 OK\n\nx", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 \n\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		p, ok := parseMessage(data, nil)
		if !bytes.Equal(before, data) {
			t.Fatal("the outcome was changed")
		}
		if !ok {
			return
		}
		if p.status < 100 || p.status > 999 || p.header > len(p.fields) {
			t.Fatalf("status %d, %d of %d fields", p.status, p.header, len(p.fields))
		}
		own, ok := parseOwn(data, nil)
		if !ok || own.status < 200 || !bodyAllowed(own.status) {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
		if err != nil {
			return // net/http is stricter: about lengths, for one
		}
		body, err := io.ReadAll(res.Body)
		if err == nil && !bytes.Equal(body, own.body) && res.ContentLength < 0 {
			t.Fatalf("body is %q, want %q", own.body, body)
		}
		if res.StatusCode != own.status {
			t.Fatalf("status is %d, want %d", own.status, res.StatusCode)
		}
		for _, f := range own.fields[:own.header] {
			want := res.Header.Values(f.name)
			if got := own.values[f.lo:f.hi]; f.name != "Trailer" && http.CanonicalHeaderKey(f.name) == f.name && !slices.EqualFunc(got, want, equalTrimmed) {
				t.Fatalf("%s is %q, want %q", f.name, got, want)
			}
		}
	})
}

func equalTrimmed(a, b string) bool { return strings.TrimSpace(a) == strings.TrimSpace(b) }
