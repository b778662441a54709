package oncehttp_test

import (
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/retry"
)

func TestNewJournalReportsEveryProblemAtOnce(t *testing.T) {
	_, err := oncehttp.NewJournal(oncehttp.JournalConfig{Window: -1, Retention: -2, Lease: -1, MaxBody: -1})
	for _, want := range []string{"Store", "Scope", "Transport", "Window", "Retention", "Lease", "MaxBody"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
	_, err = oncehttp.NewJournal(oncehttp.JournalConfig{Store: new(oncemem.Store)})
	if err == nil || !strings.Contains(err.Error(), "DangerouslyTrustStore") {
		t.Errorf("a store that forgets was accepted: %v", err)
	}
	_, err = oncehttp.NewJournal(oncehttp.JournalConfig{Store: fiveVerbs{new(oncemem.Store)}, DangerouslyTrustStore: true})
	if err == nil || !strings.Contains(err.Error(), "list and forget") {
		t.Errorf("a store that cannot list was accepted: %v", err)
	}
}

// fiveVerbs has the five verbs alone.
type fiveVerbs struct{ once.Store }

// journal returns a journal over the server; two of them over one store are two processes.
func (s *pipeServer) journal(t *testing.T, store once.Store, change func(*oncehttp.JournalConfig)) *oncehttp.Journal {
	t.Helper()
	tr, err := oncehttp.NewTransport(oncehttp.TransportConfig{
		Base:  s.base,
		Retry: retry.Policy{Tries: 2, Budget: &retry.Budget{Burst: 1000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := oncehttp.JournalConfig{Store: store, Scope: "payouts", Transport: tr, DangerouslyTrustStore: true}
	if change != nil {
		change(&cfg)
	}
	j, err := oncehttp.NewJournal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func payout(t *testing.T, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://api.test/payouts?currency=EUR", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Add("X-Tag", "a")
	req.Header.Add("X-Tag", "b")
	return req
}

func wantPending(t *testing.T, err error, id string, status int) {
	t.Helper()
	pending, ok := errors.AsType[*oncehttp.PendingError](err)
	if !ok || pending.ID != id || pending.Status != status {
		t.Fatalf("error is %#v, want a PendingError with status %d", err, status)
	}
	if strings.Contains(err.Error(), id) {
		t.Errorf("error %v tells the id", err)
	}
}

func wantIDs(t *testing.T, ids iter.Seq2[string, error], want ...string) {
	t.Helper()
	var got []string
	for id, err := range ids {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("pending are %q, want %q", got, want)
	}
}

func wantRecords(t *testing.T, store *oncemem.Store, want int) {
	t.Helper()
	n := 0
	for _, err := range store.List(t.Context(), once.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != want {
		t.Errorf("store has %d records, want %d", n, want)
	}
}

func TestJournalSendsOnceAndRemembersTheResponse(t *testing.T) {
	handler := answerWith(201, "Location", "/payouts/7", "Content-Type", "application/json")
	inBubble(t, handler, func(t *testing.T, s *pipeServer) {
		store := new(oncemem.Store)
		for range 3 {
			j := s.journal(t, store, nil)
			res, err := j.Do(t.Context(), "p1", payout(t, `{"amount":5}`))
			if body := wantAnswer(t, res, err, 201); body != "{}" || res.Header.Get("Location") != "/payouts/7" {
				t.Errorf("response is %v %q", res.Header, body)
			}
			wantIDs(t, j.Pending(t.Context()))
		}
		s.wantOneKey(t, 1)
		if seen := s.requests()[0]; seen.url != "/payouts?currency=EUR" || len(seen.header["X-Tag"]) != 2 {
			t.Errorf("request was %s with %v", seen.url, seen.header)
		}
		wantRecords(t, store, 1) // the request is gone, the response is kept
	})
}

func TestJournalGoesOnWithTheSameKeyAndRequest(t *testing.T) {
	handler := inTurn(hangUp, hangUp, answerWith(503), answerWith(503), answerWith(401), answerWith(201))
	inBubble(t, handler, func(t *testing.T, s *pipeServer) {
		store := new(oncemem.Store)
		j := s.journal(t, store, nil)
		_, err := j.Do(t.Context(), "p1", payout(t, `{"amount":5}`))
		wantPending(t, err, "p1", 0)
		if !errors.Is(err, retry.ErrTries) {
			t.Errorf("error is %v, want one that tells why it gave up", err)
		}
		j = s.journal(t, store, nil) // another process
		wantIDs(t, j.Pending(t.Context()), "p1")
		_, err = j.Resume(t.Context(), "p1")
		wantPending(t, err, "p1", 503)
		_, err = j.Resume(t.Context(), "p1")
		wantPending(t, err, "p1", 401)
		res, err := j.Do(t.Context(), "p1", payout(t, `{"amount":5}`))
		wantAnswer(t, res, err, 201)
		wantIDs(t, j.Pending(t.Context()))
		if key := s.wantOneKey(t, 6); !quotedUUID7.MatchString(key) {
			t.Errorf("key is %s", key)
		}
		res, err = j.Resume(t.Context(), "p1")
		wantAnswer(t, res, err, 201)
		s.wantOneKey(t, 6)
	})
}

func TestJournalRecordsFinalAnswers(t *testing.T) {
	for _, c := range []struct {
		first   http.HandlerFunc
		settles bool
	}{
		{answerWith(200), true},
		{answerWith(302), true}, // without Location: nowhere to go
		{answerWith(400), true},
		{answerWith(403), true},
		{answerWith(422), true},
		{answerWith(500, "Idempotency-Replayed", "true"), true},
		{problemBody(409, `{"type":"https://x.test/stock"}`), true},
		{answerWith(401), false},
		{answerWith(407), false},
		{answerWith(409), false},
		{answerWith(429), false},
		{answerWith(501), false},
		{problemBody(500, `{"type":"https://x.test/docs#in-doubt","retryable":false}`), false},
	} {
		inBubble(t, c.first, func(t *testing.T, s *pipeServer) {
			j := s.journal(t, new(oncemem.Store), nil)
			_, err := j.Do(t.Context(), "p1", payout(t, "{}"))
			if settled := err == nil; settled != c.settles {
				t.Errorf("error is %v, want settled: %t", err, c.settles)
			}
			before := len(s.requests())
			j.Do(t.Context(), "p1", payout(t, "{}"))
			if again := len(s.requests()) > before; again == c.settles {
				t.Errorf("was sent again: %t", again)
			}
		})
	}
}

func TestJournalRefusesAnotherRequestUnderTheSameID(t *testing.T) {
	for _, status := range []int{201, 503} { // done, and pending
		inBubble(t, answerWith(status), func(t *testing.T, s *pipeServer) {
			store := new(oncemem.Store)
			j := s.journal(t, store, nil)
			j.Do(t.Context(), "p1", payout(t, `{"amount":5}`))
			before := len(s.requests())
			other := payout(t, `{"amount":5}`)
			other.URL.Host = "other.test"
			for _, req := range []*http.Request{payout(t, `{"amount":6}`), other} {
				if _, err := j.Do(t.Context(), "p1", req); !errors.Is(err, once.ErrMismatch) {
					t.Errorf("error is %v, want ErrMismatch", err)
				}
			}
			if len(s.requests()) != before {
				t.Error("it was sent")
			}
		})
	}
}

func TestJournalDoesNotSendWhatTheServiceMayHaveForgotten(t *testing.T) {
	inBubble(t, hangUp, func(t *testing.T, s *pipeServer) {
		store := new(oncemem.Store)
		j := s.journal(t, store, func(cfg *oncehttp.JournalConfig) { cfg.Window = time.Hour })
		_, err := j.Do(t.Context(), "p1", payout(t, "{}"))
		wantPending(t, err, "p1", 0)
		time.Sleep(59 * time.Minute)
		_, err = j.Resume(t.Context(), "p1")
		wantPending(t, err, "p1", 0)
		before := len(s.requests())
		time.Sleep(2 * time.Minute)
		for range 2 {
			_, err = j.Resume(t.Context(), "p1")
			wantPending(t, err, "p1", 0)
			if !errors.Is(err, oncehttp.ErrWindow) || len(s.requests()) != before {
				t.Fatalf("error is %v, %d requests more", err, len(s.requests())-before)
			}
		}
		if _, err := j.Do(t.Context(), "p1", payout(t, "{1}")); !errors.Is(err, once.ErrMismatch) {
			t.Errorf("error for another request is %v, want ErrMismatch", err)
		}
		wantIDs(t, j.Pending(t.Context()), "p1")
		if err := j.Drop(t.Context(), "p1"); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, j.Pending(t.Context()))
		wantRecords(t, store, 0)
		if _, err := j.Resume(t.Context(), "p1"); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("error is %v, want ErrNotFound", err)
		}
		if err := j.Drop(t.Context(), "p1"); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("error is %v, want ErrNotFound", err)
		}
	})
}

func TestJournalKeepsNoCredentials(t *testing.T) {
	inBubble(t, inTurn(hangUp, hangUp, answerWith(200)), func(t *testing.T, s *pipeServer) {
		store := new(oncemem.Store)
		var signed atomic.Int64
		j := s.journal(t, store, func(cfg *oncehttp.JournalConfig) {
			cfg.Sign = func(r *http.Request) error {
				signed.Add(1)
				r.Header.Set("Authorization", "Bearer s3cret")
				return nil
			}
		})
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
			req := payout(t, "{}")
			req.Header.Set(name, "s3cret")
			if _, err := j.Do(t.Context(), "p1", req); err == nil || !strings.Contains(err.Error(), "Sign") {
				t.Errorf("%s was accepted: %v", name, err)
			}
		}
		req := payout(t, "{}")
		req.URL.User = url.UserPassword("me", "s3cret")
		if _, err := j.Do(t.Context(), "p1", req); err == nil || !strings.Contains(err.Error(), "Sign") {
			t.Errorf("credentials in the URL were accepted: %v", err)
		}
		_, err := j.Do(t.Context(), "p1", payout(t, "{}"))
		wantPending(t, err, "p1", 0)
		rec, err := store.Load(t.Context(), once.Key{Scope: "payouts\x00intent", ID: "p1"})
		if text := string(rec.Outcome.Data); err != nil || !strings.Contains(text, "X-Tag") || strings.Contains(text, "s3cret") {
			t.Errorf("recorded is %q (%v)", text, err)
		}
		res, err := j.Resume(t.Context(), "p1")
		wantAnswer(t, res, err, 200)
		for i, r := range s.requests() {
			if r.header.Get("Authorization") != "Bearer s3cret" {
				t.Errorf("try %d was not signed", i)
			}
		}
		if signed.Load() != 2 {
			t.Errorf("signed %d times, want once for each sending", signed.Load())
		}
	})
}

func TestJournalRefusesWhatItCannotRecord(t *testing.T) {
	inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
		store := new(oncemem.Store)
		j := s.journal(t, store, func(cfg *oncehttp.JournalConfig) { cfg.MaxBody = 10 })
		for name, change := range map[string]func(*http.Request){
			"safe method":    func(r *http.Request) { r.Method = "GET" },
			"broken method":  func(r *http.Request) { r.Method = "P OST" },
			"relative URL":   func(r *http.Request) { r.URL.Host = "" },
			"other scheme":   func(r *http.Request) { r.URL.Scheme = "ftp" },
			"trailer":        func(r *http.Request) { r.Trailer = http.Header{"X-Sum": nil} },
			"broken name":    func(r *http.Request) { r.Header["a: b"] = []string{"c"} },
			"line end":       func(r *http.Request) { r.Header["X-A"] = []string{"b\r\nc: d"} },
			"too large body": func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("0123456789a")) },
			"broken body":    func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) },
			"broken key":     func(r *http.Request) { r.Header.Set("Idempotency-Key", `"a`) },
		} {
			req := payout(t, "{}")
			change(req)
			if _, err := j.Do(t.Context(), "p1", req); err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
		if _, err := j.Do(oncehttp.WithKey(t.Context(), "ü"), "p1", payout(t, "{}").WithContext(oncehttp.WithKey(t.Context(), "ü"))); err == nil {
			t.Error("a key that cannot be sent was accepted")
		}
		if _, err := j.Do(t.Context(), "", payout(t, "{}")); err == nil {
			t.Error("an empty id was accepted")
		}
		wantRecords(t, store, 0)
		if n := len(s.requests()); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

func TestJournalUsesTheCallersKey(t *testing.T) {
	inBubble(t, answerWith(200), func(t *testing.T, s *pipeServer) {
		j := s.journal(t, new(oncemem.Store), nil)
		req := payout(t, "{}")
		req.Host = "tenant.test"
		res, err := j.Do(t.Context(), "p1", req.WithContext(oncehttp.WithKey(t.Context(), "mine")))
		wantAnswer(t, res, err, 200)
		if key := s.wantOneKey(t, 1); key != `"mine"` {
			t.Errorf("key is %s", key)
		}
		if got := s.requests()[0].host; got != "tenant.test" {
			t.Errorf("host is %s", got)
		}
		req = payout(t, "{}")
		req.Header.Set("Idempotency-Key", "other")
		res, err = j.Do(t.Context(), "p2", req)
		wantAnswer(t, res, err, 200)
		if key := s.requests()[1].key; key != "other" {
			t.Errorf("key is %s", key)
		}
	})
}
