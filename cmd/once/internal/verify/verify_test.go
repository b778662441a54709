package verify

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// configFor returns a configuration with which every check runs but expiry.
func configFor(url string) Config {
	return Config{
		Target: url, Path: "/charges", OtherPath: "/refunds", PutPath: "/profile", EffectsPath: "/effects",
		Body: `{"ref": "{{uuid}}", "amount": {{n}}}`, BadBody: `{"ref": "refuse me"}`, LargeBody: `{"ref": "{{n}} large"}`,
		PutBody: `{"name": "{{n}}"}`, EffectsPointer: "/charges/count",
		Header: http.Header{"Authorization": {"Bearer a"}}, OtherHeader: http.Header{"Authorization": {"Bearer b"}},
		Strict: true, Concurrency: concurrency, Pause: time.Millisecond, Settle: 10 * time.Second, Timeout: time.Minute,
	}
}

func verify(t *testing.T, cfg Config) *Report {
	t.Helper()
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantFailed compares the names of the failed checks.
func wantFailed(t *testing.T, r *Report, want ...string) {
	t.Helper()
	got := r.Names(Fail)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || r.Unfinished != "" {
		var b strings.Builder
		r.Print(&b, false)
		t.Errorf("failed: %v\nwant    %v\nunfinished: %s\n%s", got, want, r.Unfinished, &b)
	}
}

func wantSkipped(t *testing.T, r *Report, want ...string) {
	t.Helper()
	got := r.Names(Skip)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		var b strings.Builder
		r.Print(&b, false)
		t.Errorf("skipped: %v\nwant     %v\n%s", got, want, &b)
	}
}

func TestGoodServicePassesEveryCheck(t *testing.T) {
	t.Parallel()
	s := newShop(flaws{})
	s.retention = 400 * time.Millisecond
	cfg := configFor(serve(t, s))
	// Its short retention is for the check of that alone.
	r := verify(t, cfgWithout(cfg, func(c *Config) { c.Expiry = s.retention }))
	if slices.Contains(r.Names(Fail), "expiry") || slices.Contains(r.Names(Skip), "expiry") {
		t.Errorf("expiry: %+v", r)
	}
	s = newShop(flaws{})
	cfg.Target = serve(t, s)
	r = verify(t, cfg)
	wantFailed(t, r)
	wantSkipped(t, r, "expiry")
	if n := r.Count(Pass); n != len(r.Findings)-1 {
		t.Errorf("%d of %d passed", n, len(r.Findings))
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if ops, _ := v.Plan(); s.effects > ops {
		t.Errorf("executed %d times; %d were announced", s.effects, ops)
	}
}

func cfgWithout(cfg Config, change func(*Config)) Config { change(&cfg); return cfg }

func TestServiceThatWaitsPasses(t *testing.T) {
	t.Parallel()
	s := newShop(flaws{})
	s.waits, s.gate.waiting = true, true
	r := verify(t, configFor(serve(t, s)))
	wantFailed(t, r)
	wantSkipped(t, r, "conflict-retry-after", "expiry")
}

// Each flaw is found by the checks for it, and by no other.
func TestFlawsAreFound(t *testing.T) {
	t.Parallel()
	type outcome struct {
		report *Report
		err    error
	}
	outcomes := map[string]chan outcome{}
	few := make(chan struct{}, 12) // at once, whatever -parallel says: they mostly wait
	for name, tt := range wrongShops() {
		s := newShop(tt.flaws)
		cfg := configFor(serve(t, s))
		if s.stuck || s.hangUpStuck || s.refusesPutRetry { // until that they are retried
			cfg.Settle = time.Second
		}
		v, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan outcome, 1)
		outcomes[name] = done
		go func() {
			few <- struct{}{}
			defer func() { <-few }()
			r, err := v.Run(t.Context())
			if _, most := v.Plan(); err == nil && s.effects > most {
				err = fmt.Errorf("executed %d times; at most %d were announced", s.effects, most)
			}
			done <- outcome{r, err}
		}()
	}
	for name, tt := range wrongShops() {
		t.Run(name, func(t *testing.T) {
			o := <-outcomes[name]
			if o.err != nil {
				t.Fatal(o.err)
			}
			wantFailed(t, o.report, tt.failed...)
		})
	}
}

type wrongShop struct {
	flaws
	failed []string
}

// wrongShops are services with a flaw each, and the checks that must find it.
func wrongShops() map[string]wrongShop {
	return map[string]wrongShop{
		"no idempotency": {flaws{none: true}, []string{"concurrent-later", "concurrent-once", "error-replay", "hang-up",
			"key-bare", "key-malformed", "key-missing", "key-too-long", "key-two-lines", "large-response", "mismatch-after",
			"mismatch-in-flight", "parallel-keys", "retry-once"}},
		"looks before it writes":      {flaws{racy: true}, []string{"concurrent-once", "mismatch-in-flight"}},
		"keys global over users":      {flaws{globalKeys: true}, []string{"isolation-credential"}},
		"others' keys refused":        {flaws{othersKeyRefused: true}, []string{"isolation-credential"}},
		"keys global over routes":     {flaws{ignoresRoute: true}, []string{"isolation-route"}},
		"no fingerprint":              {flaws{noFingerprint: true}, []string{"mismatch-after", "mismatch-in-flight"}},
		"mismatch is 409":             {flaws{mismatch409: true}, []string{"mismatch-after", "mismatch-in-flight"}},
		"mismatch in flight is 409":   {flaws{mismatch409InFlight: true}, []string{"mismatch-in-flight"}},
		"mismatch forgets the record": {flaws{mismatchForgets: true}, []string{"mismatch-after"}},
		"stuck after duplicates":      {flaws{stuck: true}, []string{"concurrent-later"}},
		"500 for duplicates":          {flaws{conflict500: true}, []string{"concurrent-answers"}},
		"409 without Retry-After":     {flaws{noRetryAfter: true}, []string{"conflict-retry-after"}},
		"Retry-After is no time":      {flaws{badRetryAfter: true}, []string{"conflict-retry-after"}},
		"hang-up forgets the record":  {flaws{hangUpForgets: true}, []string{"hang-up"}},
		"hang-up leaves key stuck":    {flaws{hangUpStuck: true}, []string{"hang-up"}},
		"replay of another status":    {flaws{replaysOtherStatus: true}, []string{"replay-status"}},
		"fields dropped":              {flaws{dropsHeaders: true}, []string{"replay-headers"}},
		"fields changed":              {flaws{changesHeaders: true}, []string{"replay-headers"}},
		"body encoded anew":           {flaws{reencodes: true}, []string{"replay-body"}},
		"no mark of a replay":         {flaws{noMarker: true}, []string{"replay-marker"}},
		"no Cache-Control":            {flaws{noCacheControl: true}, []string{"replay-cache-control"}},
		"cookies replayed":            {flaws{replaysCookie: true}, []string{"replay-set-cookie"}},
		"quotes are part of the key":  {flaws{quotesDiffer: true}, []string{"key-bare"}},
		"bare keys though strict":     {flaws{acceptsBare: true}, []string{"key-bare"}},
		"missing key":                 {flaws{acceptsMissing: true}, []string{"key-missing"}},
		"long key":                    {flaws{acceptsLong: true}, []string{"key-too-long"}},
		"two keys":                    {flaws{acceptsTwo: true}, []string{"key-two-lines"}},
		"malformed keys":              {flaws{acceptsMalformed: true}, []string{"key-malformed"}},
		"fails on malformed keys":     {flaws{failsOnMalformed: true}, []string{"key-malformed"}},
		"GET recorded":                {flaws{cachesGet: true}, []string{"method-get"}},
		"retry of PUT refused":        {flaws{refusesPutRetry: true}, []string{"method-put"}},
		"errors are plain text":       {flaws{noProblems: true}, []string{"problem-json"}},
		"errors without links":        {flaws{noLinks: true}, []string{"problem-link"}},
		"errors not recorded":         {flaws{forgetsErrors: true}, []string{"error-replay"}},
		"large responses forgotten":   {flaws{forgetsLarge: true}, []string{"large-response"}},
		"replays get mixed up":        {flaws{mixesKeys: true}, []string{"parallel-keys"}},
	}
}

func TestWrongExpiryIsFound(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]flaws{"never": {neverExpires: true}, "early": {expiresEarly: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(f)
			cfg := configFor(serve(t, s))
			s.retention = 300 * time.Millisecond
			if f.expiresEarly {
				cfg.Expiry = 8 * time.Second // it is seen in half of that
			} else {
				cfg.Expiry = s.retention
			}
			if got := verify(t, cfg).Names(Fail); !slices.Contains(got, "expiry") {
				t.Errorf("failed: %v", got)
			}
		})
	}
}

// Without strict, what is against a SHOULD is a warning.
func TestWarningsAreNoFailures(t *testing.T) {
	t.Parallel()
	s := newShop(flaws{acceptsMissing: true, acceptsBare: true, acceptsLong: true, acceptsTwo: true, acceptsMalformed: true,
		mismatch409: true, noRetryAfter: true, noMarker: true, noCacheControl: true, replaysCookie: true, noProblems: true,
		noLinks: true})
	cfg := configFor(serve(t, s))
	cfg.Strict = false
	r := verify(t, cfg)
	wantFailed(t, r)
	want := []string{"key-missing", "key-malformed", "key-too-long", "key-two-lines", "replay-marker", "replay-cache-control",
		"replay-set-cookie", "mismatch-after", "mismatch-in-flight", "conflict-retry-after", "problem-json", "problem-link"}
	if got := r.Names(Warn); !slices.Equal(got, want) {
		t.Errorf("warnings: %v\nwant      %v", got, want)
	}
}

// Responses alone prove much, but not everything.
func TestEffectsNeedNotBeCounted(t *testing.T) {
	t.Parallel()
	without := func(s *shop) Config {
		cfg := configFor(serve(t, s))
		cfg.EffectsPath, cfg.EffectsPointer = "", ""
		return cfg
	}
	r := verify(t, without(newShop(flaws{})))
	wantFailed(t, r)
	wantSkipped(t, r, "expiry", "method-get")
	wantFailed(t, verify(t, without(newShop(flaws{globalKeys: true}))), "isolation-credential")
	wantFailed(t, verify(t, without(newShop(flaws{racy: true}))), "concurrent-once", "mismatch-in-flight")
	r = verify(t, without(newShop(flaws{hangUpForgets: true, noMarker: true})))
	wantFailed(t, r, "replay-marker")
	wantSkipped(t, r, "expiry", "hang-up", "method-get")
}

// guarded is the operation of a good shop behind the middleware of this project.
func guarded(t *testing.T, wait time.Duration) *httptest.Server {
	t.Helper()
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Hold, Wait: wait, DangerouslyTrustStore: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := oncehttp.New(oncehttp.Config{Guard: guard, Required: true, Strict: true,
		DocsURL: "https://shop.example/docs", MaxResponseBody: 10_000,
		Scope: func(r *http.Request) (string, error) { return r.Header.Get("Authorization"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	s := newShop(flaws{none: true})
	s.gate.waiting = wait > 0
	mux := http.NewServeMux()
	mux.Handle("POST /", m.Wrap(http.HandlerFunc(s.route)))
	mux.Handle("/", http.HandlerFunc(s.route))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.gate.front(w, r, mux) }))
	t.Cleanup(server.Close)
	return server
}

func TestMiddlewarePasses(t *testing.T) {
	t.Parallel()
	r := verify(t, configFor(guarded(t, 0).URL))
	wantFailed(t, r)
	wantSkipped(t, r, "expiry")
	r = verify(t, configFor(guarded(t, 20*time.Second).URL))
	wantFailed(t, r)
	wantSkipped(t, r, "expiry", "conflict-retry-after")
}

func TestTargetThatCannotBeTestedIsAnError(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	url := serve(t, newShop(flaws{}))
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"nobody there":     {func(c *Config) { c.Target = closed.URL }, "refused"},
		"no credentials":   {func(c *Config) { c.Header = nil; c.EffectsPath, c.EffectsPointer = "", "" }, "answered 401"},
		"no such path":     {func(c *Config) { c.Path = "/nothing" }, "answered 405"},
		"no such count":    {func(c *Config) { c.EffectsPointer = "/charges/sum" }, `no member "sum"`},
		"not counted here": {func(c *Config) { c.Body, c.BadBody = `{"ref":"refuse me {{n}}"}`, "" }, "answered 402"},
		"out of requests":  {func(c *Config) { c.MaxRequests = 1 }, "raise --max-requests"},
		"out of time":      {func(c *Config) { c.Timeout = time.Nanosecond }, "raise --timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := configFor(url)
			tt.change(&cfg)
			v, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// When the bounds are reached the rest is skipped, and the report says why.
func TestBoundsAreKept(t *testing.T) {
	t.Parallel()
	s := newShop(flaws{})
	cfg := configFor(serve(t, s))
	cfg.MaxRequests = 40
	r := verify(t, cfg)
	if r.Requests != 40 || !strings.Contains(r.Unfinished, "raise --max-requests") || r.Count(Skip) < 5 || r.Count(Fail) > 0 {
		t.Errorf("got %d requests, unfinished %q, %d skipped, failed %v", r.Requests, r.Unfinished, r.Count(Skip), r.Names(Fail))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.MaxRequests = DefaultMaxRequests
	cfg.Progress = func(_, _ int, name string) {
		if name == "concurrent" {
			cancel()
		}
	}
	v, _ := New(cfg)
	if r, err := v.Run(ctx); err != nil || r.Unfinished == "" || r.Count(Fail) > 0 {
		t.Errorf("got %v, %+v", err, r)
	}
}

// The checks do not depend on the version of HTTP: a connection that is broken off is a stream there.
func TestHangUpOverTLS(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		s := newShop(flaws{hangUpForgets: true})
		server := httptest.NewUnstartedServer(s)
		server.EnableHTTP2 = h2
		server.StartTLS()
		t.Cleanup(server.Close)
		cfg := configFor(server.URL)
		v, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(&v.cfg)
		defer c.close()
		c.http.Transport.(*http.Transport).TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
		r := &Report{}
		st := &state{n: 1}
		for _, g := range []group{first(), hangUp()} {
			if err := v.runGroup(t.Context(), c, st, r, &g); err != nil {
				t.Fatal(err)
			}
		}
		wantFailed(t, r, "hang-up")
	}
}
