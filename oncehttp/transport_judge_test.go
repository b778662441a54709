package oncehttp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/retry"
)

func TestWhichAnswersAreWorthAnotherTry(t *testing.T) {
	const inFlight, foreign = `{"type":"https://x.test/docs#in-flight","retryable":true}`, `{"type":"https://x.test/stock"}`
	for _, c := range []struct {
		name   string
		first  http.HandlerFunc
		method string // POST if empty
		again  bool
	}{
		{"200", answerWith(200), "", false},
		{"304", answerWith(304), "", false},
		{"400", answerWith(400), "", false},
		{"401", answerWith(401), "", false},
		{"403", answerWith(403), "", false},
		{"404", answerWith(404), "", false},
		{"408", answerWith(408), "", true},
		{"409 with a key", answerWith(409), "", true},
		{"409 without a key", answerWith(409), "PUT", false},
		{"409 in flight", problemBody(409, inFlight), "", true},
		{"409 that will stay", problemBody(409, `{"retryable":false}`), "", false},
		{"409 of the application", problemBody(409, foreign), "", false},
		{"409 of the application that asks to come back", problemBody(409, foreign, "Retry-After", "0"), "", true},
		{"409 without a type", problemBody(409, `{"type":"about:blank"}`), "", true},
		{"409 with a broken problem", problemBody(409, `{"retryable":`), "", true},
		{"410", answerWith(410), "", false},
		{"412", answerWith(412), "", false},
		{"422", answerWith(422), "", false},
		{"422 that claims to be retryable", problemBody(422, `{"retryable":true}`), "", false},
		{"400 that claims to be retryable", problemBody(400, `{"retryable":true}`), "", false},
		{"400 with Stripe-Should-Retry", answerWith(400, "Stripe-Should-Retry", "true"), "", false},
		{"425", answerWith(425), "", true},
		{"429", answerWith(429), "", true},
		{"500", answerWith(500), "", true},
		{"500 in doubt", problemBody(500, `{"type":"https://x.test/docs#in-doubt","retryable":false}`), "", false},
		{"500 with Stripe-Should-Retry: false", answerWith(500, "Stripe-Should-Retry", "false"), "", false},
		{"402 with Stripe-Should-Retry: true", answerWith(402, "Stripe-Should-Retry", "true"), "", true},
		{"500 replayed", answerWith(500, "Idempotency-Replayed", "true"), "", false},
		{"500 replayed, as Stripe says it", answerWith(500, "Idempotent-Replayed", "true"), "", false},
		{"501", answerWith(501), "", false},
		{"502", answerWith(502), "", true},
		{"503", answerWith(503), "", true},
		{"503 without a key", answerWith(503), "GET", true},
		{"504", answerWith(504), "", true},
		{"505", answerWith(505), "", false},
		{"522", answerWith(522), "", true},
		{"broken connection", hangUp, "", true},
		{"broken problem", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			problemBody(404, `{"type":`)(w, r)
		}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, inTurn(c.first, answerWith(200)), func(t *testing.T, s *pipeServer) {
				method := c.method
				if method == "" {
					method = "POST"
				}
				req, _ := http.NewRequestWithContext(t.Context(), method, "http://api.test/", nil)
				res, err := s.client(t, oncehttp.TransportConfig{}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if got := len(s.requests()) == 2; got != c.again {
					t.Errorf("tried again: %t, want %t", got, c.again)
				}
			})
		})
	}
}

func TestReplayedKnowsTheMarksInUse(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        bool
	}{
		{"Idempotency-Replayed", "true", true},
		{"Idempotent-Replayed", "true", true},
		{"X-Idempotent-Replayed", "TRUE", true},
		{"Idempotency-Replayed", "false", false},
		{"Idempotency-Replayed", "", false},
		{"X-Other", "true", false},
	} {
		res := &http.Response{Header: http.Header{c.name: {c.value}}}
		if got := oncehttp.Replayed(res); got != c.want {
			t.Errorf("%s: %s: replayed is %t", c.name, c.value, got)
		}
	}
}

func TestAProblemIsStillReadable(t *testing.T) {
	long := `{"retryable":false,"detail":"` + strings.Repeat("x", 50_000) + `"}`
	for _, body := range []string{`{"retryable":false}`, long} {
		inBubble(t, problemBody(409, body), func(t *testing.T, s *pipeServer) {
			res, err := postTo(t, s.client(t, oncehttp.TransportConfig{Retry: retry.Policy{Tries: 1}}), t.Context(), nil)
			if got := wantAnswer(t, res, err, 409); got != body {
				t.Errorf("body has %d bytes, want %d", len(got), len(body))
			}
		})
	}
}

func TestJudgeHasTheLastWord(t *testing.T) {
	judge := func(res *http.Response, _ error) oncehttp.Verdict {
		switch {
		case res != nil && res.StatusCode == 400:
			return oncehttp.TryAgain
		case res != nil && res.StatusCode == 503:
			return oncehttp.Answered
		}
		return oncehttp.ByTable
	}
	inBubble(t, inTurn(answerWith(400), answerWith(502), answerWith(503)), func(t *testing.T, s *pipeServer) {
		res, err := postTo(t, s.client(t, oncehttp.TransportConfig{Judge: judge}), t.Context(), nil)
		wantAnswer(t, res, err, 503)
		s.wantOneKey(t, 3)
	})
}

func TestRetryAfterIsHeeded(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, c := range []struct {
		name    string
		first   http.HandlerFunc
		atLeast time.Duration
	}{
		{"seconds", answerWith(503, "Retry-After", "7"), 7 * time.Second},
		{"zero", answerWith(503, "Retry-After", "0"), 0},
		{"a date", func(w http.ResponseWriter, r *http.Request) {
			answerWith(429, "Retry-After", date(20*time.Second))(w, r)
		}, 20 * time.Second},
		{"a date by the server's own clock", func(w http.ResponseWriter, r *http.Request) {
			answerWith(429, "Date", date(-time.Hour), "Retry-After", date(20*time.Second-time.Hour))(w, r)
		}, 20 * time.Second},
		{"a date in the past", func(w http.ResponseWriter, r *http.Request) {
			answerWith(429, "Retry-After", date(-time.Hour))(w, r)
		}, 0},
		{"nonsense", answerWith(503, "Retry-After", "soon"), 0},
		{"409 in flight", answerWith(409, "Retry-After", "3"), 3 * time.Second},
		{"TryAgain of Judge", answerWith(418, "Retry-After", "4"), 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, inTurn(c.first, answerWith(200)), func(t *testing.T, s *pipeServer) {
				cfg := oncehttp.TransportConfig{Retry: retry.Policy{Base: time.Second}}
				cfg.Judge = func(res *http.Response, _ error) oncehttp.Verdict {
					if res.StatusCode == 418 {
						return oncehttp.TryAgain
					}
					return oncehttp.ByTable
				}
				res, err := postTo(t, s.client(t, cfg), t.Context(), nil)
				wantAnswer(t, res, err, 200)
				pause := s.arrived[1] - s.arrived[0]
				if pause < c.atLeast || pause > c.atLeast+time.Second {
					t.Errorf("pause was %v, want at least %v and less than a second more", pause, c.atLeast)
				}
			})
		})
	}
}

func TestAnAbsurdRetryAfterEndsTheSeries(t *testing.T) {
	for _, value := range []string{"86400", "9223372036854775807", "99999999999999999999999"} {
		inBubble(t, answerWith(503, "Retry-After", value), func(t *testing.T, s *pipeServer) {
			start := time.Now()
			res, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), t.Context(), nil)
			wantAnswer(t, res, err, 503)
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
			s.wantOneKey(t, 1)
		})
	}
}

func TestNoPauseIsBegunThatTheDeadlineWouldCut(t *testing.T) {
	inBubble(t, answerWith(503, "Retry-After", "20"), func(t *testing.T, s *pipeServer) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		var stop error
		c := s.client(t, oncehttp.TransportConfig{
			Observe: func(_ context.Context, try oncehttp.Try) { stop = try.Stop },
		})
		res, err := postTo(t, c, ctx, nil)
		wantAnswer(t, res, err, 503)
		if took := time.Since(start); took > time.Second || stop != retry.ErrDeadline {
			t.Errorf("took %v and stopped for %v", took, stop)
		}
	})
}

func TestGivingUpTellsTheKey(t *testing.T) {
	inBubble(t, hangUp, func(t *testing.T, s *pipeServer) {
		c := s.client(t, oncehttp.TransportConfig{Retry: retry.Policy{Tries: 3}})
		ctx := oncehttp.WithKey(t.Context(), "order-42")
		_, err := postTo(t, c, ctx, nil)
		gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
		if !ok || gaveUp.Key != "order-42" || gaveUp.Tries != 3 || !errors.Is(err, retry.ErrTries) {
			t.Fatalf("error is %#v", err)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("error %v does not tell what happened to the last try", err)
		}
		if strings.Contains(err.Error(), "order-42") {
			t.Errorf("error %v tells the key", err)
		}
		if key := s.wantOneKey(t, 3); key != `"order-42"` {
			t.Errorf("key is %s", key)
		}
	})
}

func TestAContextThatEndsStopsTheSeriesWithTheKey(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"in a pause", answerWith(503, "Retry-After", "30")},
		{"in a try", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.handler, func(t *testing.T, s *pipeServer) {
				ctx, cancel := context.WithCancel(oncehttp.WithKey(t.Context(), "k"))
				time.AfterFunc(10*time.Second, cancel)
				_, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), ctx, nil)
				gaveUp, ok := errors.AsType[*retry.GiveUpError](err)
				if !ok || gaveUp.Key != "k" || gaveUp.Tries != 1 || !errors.Is(err, context.Canceled) {
					t.Fatalf("error is %#v", err)
				}
			})
		})
	}
}

func TestTheLastResponseIsReturnedWithItsKey(t *testing.T) {
	inBubble(t, answerWith(503), func(t *testing.T, s *pipeServer) {
		tr, err := oncehttp.NewTransport(oncehttp.TransportConfig{Base: s.base, Retry: retry.Policy{Tries: 2}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := postTo(t, &http.Client{Transport: tr}, t.Context(), nil)
		if body := wantAnswer(t, res, err, 503); body != "{}" {
			t.Errorf("body is %q", body)
		}
		if want := s.wantOneKey(t, 2); oncehttp.FormatKey(tr.SentKey(res)) != want {
			t.Errorf("key is %s, want %s", tr.SentKey(res), want)
		}
	})
}

func TestBudgetKeepsAnOutageFromGrowing(t *testing.T) {
	inBubble(t, answerWith(503), func(t *testing.T, s *pipeServer) {
		budget := &retry.Budget{Ratio: 0.1, Burst: 5, PerSecond: 1e-9}
		c := s.client(t, oncehttp.TransportConfig{Retry: retry.Policy{Budget: budget, Base: time.Millisecond}})
		for range 100 {
			res, err := postTo(t, c, t.Context(), nil)
			wantAnswer(t, res, err, 503)
		}
		if n := len(s.requests()); n < 110 || n > 115 {
			t.Errorf("100 operations made %d requests, want the 15 of the budget more", n)
		}
	})
}

func TestATryWithoutResponseTimesOut(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	hangInProblem := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(409)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	inBubble(t, inTurn(hang, hangInProblem, answerWith(200)), func(t *testing.T, s *pipeServer) {
		var errs []error
		c := s.client(t, oncehttp.TransportConfig{
			TryTimeout: 5 * time.Second,
			Observe:    func(_ context.Context, try oncehttp.Try) { errs = append(errs, try.Err) },
		})
		res, err := postTo(t, c, t.Context(), nil)
		wantAnswer(t, res, err, 200)
		s.wantOneKey(t, 3)
		for i, err := range errs[:2] {
			if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
				t.Errorf("error of try %d is %v, want a time-out", i+1, err)
			}
		}
	})
}

func TestAnUnwantedResponseDoesNotHoldUpTheNextTry(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		io.WriteString(w, "wait")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	inBubble(t, inTurn(endless, answerWith(200)), func(t *testing.T, s *pipeServer) {
		start := time.Now()
		res, err := postTo(t, s.client(t, oncehttp.TransportConfig{}), t.Context(), nil)
		wantAnswer(t, res, err, 200)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestObserveSeesEveryTry(t *testing.T) {
	inBubble(t, inTurn(hangUp, answerWith(503), answerWith(200)), func(t *testing.T, s *pipeServer) {
		var seen []string
		c := s.client(t, oncehttp.TransportConfig{Observe: func(_ context.Context, try oncehttp.Try) {
			status := 0
			if try.Response != nil {
				status = try.Response.StatusCode
			}
			hasKey := try.Request.Header.Get("Idempotency-Key") != ""
			seen = append(seen, fmt.Sprint(try.Number, status, try.Err != nil, try.Stop, try.Pause > 0, hasKey))
		}})
		res, err := postTo(t, c, t.Context(), nil)
		wantAnswer(t, res, err, 200)
		want := []string{
			"1 0 true <nil> true true",
			"2 503 false <nil> true true",
			"3 200 false " + retry.ErrAnswered.Error() + " false true",
		}
		if strings.Join(seen, "\n") != strings.Join(want, "\n") {
			t.Errorf("tries are\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	})
}

// Errors that another try cannot mend are returned at once.
func TestPermanentErrorsAreNotTriedAgain(t *testing.T) {
	srv := httptest.NewUnstartedServer(answerWith(200))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	tries := 0
	base := &http.Transport{TLSClientConfig: new(tls.Config)} // does not know the server's CA
	defer base.CloseIdleConnections()
	tr, err := oncehttp.NewTransport(oncehttp.TransportConfig{
		Base:    base,
		Observe: func(context.Context, oncehttp.Try) { tries++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&http.Client{Transport: tr}).Post(srv.URL, "text/plain", nil)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || tries != 1 {
		t.Errorf("error is %v after %d tries", err, tries)
	}
}
