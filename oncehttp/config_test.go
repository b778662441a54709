package oncehttp_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
)

func TestNewReportsEveryProblemAtOnce(t *testing.T) {
	_, err := oncehttp.New(oncehttp.Config{
		Methods:         []string{"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "no method", "PUT"},
		Headers:         []string{"Idempotency Key"},
		ReplayHeader:    "x:y",
		ReplayOmit:      []string{"a\n"},
		MaxRequestBody:  -1,
		MaxResponseBody: 1 << 40,
		FingerprintOmit: []string{""},
		Retention:       -1,
		RetryAfter:      -1,
		ClockTolerance:  -1,
		Statuses:        map[string]int{"no-such": 400, oncehttp.ProblemInFlight: 200},
		DocsURL:         "https://docs.example/#x",
	})
	if err == nil {
		t.Fatal("the configuration is accepted")
	}
	for _, want := range []string{
		"Guard is missing", "Scope is missing", "method GET is safe", "method HEAD", "method OPTIONS", "method TRACE",
		`"CONNECT"`, `"no method"`, `"Idempotency Key"`, `"x:y"`, `"a\n"`, "MaxRequestBody is -1", "MaxResponseBody is 1099511627776",
		"FingerprintOmit", "Retention is -1ns", "RetryAfter is -1ns", "ClockTolerance is -1ns", `"no-such"`, "200 for in-flight", "DocsURL",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q", want)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "oncehttp: config: ") || !strings.Contains(line, ";") {
			t.Errorf("a problem lacks its place or the way out: %s", line)
		}
	}
	if strings.Contains(err.Error(), "PUT") {
		t.Error("PUT is refused")
	}
}

func TestConfigsThatExclude(t *testing.T) {
	g := newGuard(t, once.Config{Retention: time.Minute})
	for want, cfg := range map[string]oncehttp.Config{
		"exclude each other":      {Guard: g, Scope: byUser, DangerouslyShareKeys: true},
		"default fingerprint":     {Guard: g, Scope: byUser, FingerprintOmit: []string{"/a"}, Fingerprint: ownFingerprint},
		"would refuse everything": {Guard: g, Scope: byUser, RefuseLate: true},
	} {
		if _, err := oncehttp.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
}

func TestStatusesAndDocs(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{
		Headers:  []string{"Idempotency-Key", "X-Idempotency-Key"},
		Statuses: map[string]int{oncehttp.ProblemKeyReused: 409},
		DocsURL:  "https://docs.example/idempotency",
	}).Wrap(h)
	do(guarded, call{key: "k"}).wantStatus(t, 201)
	a := do(guarded, call{key: "k", body: "other"})
	var p oncehttp.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	if a.StatusCode != 409 || p.Status != 409 || p.Type != "https://docs.example/idempotency#key-reused" {
		t.Errorf("problem is %d %+v", a.StatusCode, p)
	}
	if got := a.Header.Get("Link"); got != `<https://docs.example/idempotency#key-reused>; rel="describedby"; type="text/html"` {
		t.Errorf("link is %q", got)
	}
	if got := a.Header.Get("Retry-After"); got != "" {
		t.Errorf("a reused key has Retry-After %q", got)
	}
	b := do(newMiddleware(t, oncehttp.Config{Required: true}).Wrap(h), call{})
	if b.Header.Get("Link") != "" {
		t.Error("without DocsURL there is a link")
	}
}

func TestRetryAfterIsInWholeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for d, want := range map[time.Duration]string{
			0: "1", time.Millisecond: "1", 1500 * time.Millisecond: "2", time.Minute: "60",
		} {
			h := &counter{next: func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }}
			guarded := newMiddleware(t, oncehttp.Config{RetryAfter: d}).Wrap(h)
			go do(guarded, call{key: "k"})
			synctest.Wait()
			if got := do(guarded, call{key: "k"}).Header.Get("Retry-After"); got != want {
				t.Errorf("with %v the client is told %q, want %q", d, got, want)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
	})
}

func ownFingerprint(*http.Request, []byte) (once.Fingerprint, error) {
	return once.Fingerprint{1}, nil
}
