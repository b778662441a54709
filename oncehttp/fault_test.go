package oncehttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

var errDown = errors.New("connection refused")

// verbsOnly hides the optional interfaces of a store.
type verbsOnly struct{ once.Store }

// faulty returns a store on which the verb fails as long as down reports it.
func faulty(verb oncetest.Verb, fault oncetest.Fault, down func(n int) bool) once.Store {
	return verbsOnly{oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) oncetest.Fault {
		if v == verb && down(n) {
			return fault
		}
		return oncetest.Fault{}
	})}
}

func always(int) bool { return true }

func TestStoreThatIsDownAtTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err  error
			name string
			code int
			runs bool // if DangerouslyRunOnStoreError
		}{
			{errDown, oncehttp.ProblemStoreUnavailable, 503, true},
			{once.ErrClosed, oncehttp.ProblemStoreUnavailable, 503, true},
			{once.ErrFull, oncehttp.ProblemStoreFull, 503, true},
			{once.ErrUnreadable, oncehttp.ProblemUnreadable, 500, false},
		} {
			h := created()
			store := faulty(oncetest.Claim, oncetest.Fault{Before: c.err}, always)
			cfg := oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}
			do(newMiddleware(t, cfg).Wrap(h), call{key: "k"}).wantProblem(t, c.name, c.code)
			h.wantRuns(t, 0)

			cfg.DangerouslyRunOnStoreError = true
			a := do(newMiddleware(t, cfg).Wrap(h), call{key: "k", body: "hello"})
			if c.runs {
				a.wantStatus(t, 201)
				h.wantRuns(t, 1)
			} else {
				a.wantProblem(t, c.name, c.code)
				h.wantRuns(t, 0)
			}
		}
	})
}

func TestUnguardedRunSeesTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &counter{next: func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }}
		store := faulty(oncetest.Claim, oncetest.Fault{Before: errDown}, always)
		guarded := newMiddleware(t, oncehttp.Config{
			Guard: newGuard(t, once.Config{Store: store}), DangerouslyRunOnStoreError: true,
		}).Wrap(h)
		if a := do(guarded, call{key: "k", body: "hello"}); a.body != "hello" {
			t.Errorf("the handler read %q", a.body)
		}
	})
}

// Nobody is shown a response that others may never be shown.
func TestStoreThatIsDownAtTheEnd(t *testing.T) {
	for _, policy := range []once.Policy{once.Hold, once.Rerun} {
		synctest.Test(t, func(t *testing.T) {
			down := true
			h := created()
			store := faulty(oncetest.Complete, oncetest.Fault{Before: errDown}, func(int) bool { return down })
			guarded := newMiddleware(t, oncehttp.Config{
				Guard: newGuard(t, once.Config{Store: store, InDoubt: policy, Lease: time.Second}),
			}).Wrap(h)
			a := do(guarded, call{key: "k"})
			p := a.wantProblem(t, oncehttp.ProblemOutcomeUnknown, 503)
			if !p.Retryable || a.Header.Get("Location") != "" {
				t.Errorf("the refusal is %v %s", a.Header, a.body)
			}
			h.wantRuns(t, 1)
			down = false
			time.Sleep(2 * time.Second)
			if policy == once.Hold {
				do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
				h.wantRuns(t, 1)
			} else {
				do(guarded, call{key: "k"}).wantStatus(t, 201)
				h.wantRuns(t, 2)
			}
		})
	}
}

func TestResponseIsSentUnrecordedOnlyIfThatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := created()
		store := faulty(oncetest.Complete, oncetest.Fault{Before: errDown}, always)
		guarded := newMiddleware(t, oncehttp.Config{
			Guard: newGuard(t, once.Config{Store: store, Lease: time.Second}), DangerouslyRunOnStoreError: true,
		}).Wrap(h)
		do(guarded, call{key: "k"}).wantStatus(t, 201)
	})
}

func TestLostReplyOfTheStoreChangesNothing(t *testing.T) {
	for _, verb := range []oncetest.Verb{oncetest.Claim, oncetest.Complete, oncetest.Release} {
		synctest.Test(t, func(t *testing.T) {
			h := created()
			if verb == oncetest.Release {
				h = status(429)
			}
			store := faulty(verb, oncetest.Fault{After: errDown}, func(n int) bool { return n == 1 })
			guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}).Wrap(h)
			first := do(guarded, call{key: "k"})
			second := do(guarded, call{key: "k"})
			if verb == oncetest.Release {
				first.wantStatus(t, 429)
				second.wantStatus(t, 429)
				h.wantRuns(t, 2)
				return
			}
			first.wantStatus(t, 201)
			second.wantReplayOf(t, first)
			h.wantRuns(t, 1)
		})
	}
}

// gate is a store whose Complete waits to be let through.
type gate struct {
	once.Store
	open chan struct{}
}

func (g *gate) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	<-g.open
	return g.Store.Complete(ctx, k, o, out, d)
}

// watched is a ResponseWriter that remembers if anything was written.
type watched struct {
	mu     sync.Mutex
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *watched) Header() http.Header { return w.header }

func (w *watched) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.body.Write(p)
}

func (w *watched) Flush() { w.WriteHeader(200) }

func (w *watched) written() (int, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, w.body.String()
}

// The answer leaves only after the acknowledgement, however the handler writes it.
func TestNothingLeavesBeforeTheAcknowledgement(t *testing.T) {
	for name, next := range map[string]http.HandlerFunc{
		"write": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"flush": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello"); w.(http.Flusher).Flush() },
		"copy":  func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, plain{strings.NewReader("hello")}) },
		"large": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("hello", 1000)) },
		"controller": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hello")
			http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &gate{new(oncemem.Store), make(chan struct{})}
				guarded := newMiddleware(t, oncehttp.Config{
					Guard: newGuard(t, once.Config{Store: store}), MaxResponseBody: 1000,
				}).Wrap(next)
				w := &watched{header: make(http.Header)}
				done := make(chan struct{})
				go func() {
					guarded.ServeHTTP(w, call{key: "k"}.request())
					close(done)
				}()
				synctest.Wait()
				if status, body := w.written(); status != 0 || body != "" {
					t.Errorf("before the acknowledgement %d %q was written", status, body)
				}
				close(store.open)
				<-done
				if _, body := w.written(); !strings.HasPrefix(body, "hello") {
					t.Errorf("after the acknowledgement %q was written", body)
				}
			})
		})
	}
}

func TestKeysAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "s3cr3t-key"
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		store := faulty(oncetest.Complete, oncetest.Fault{Before: errDown}, always)
		h := created()
		guarded := newMiddleware(t, oncehttp.Config{
			Guard: newGuard(t, once.Config{Store: store, Lease: time.Second}), Logger: logger,
		}).Wrap(h)
		a := do(guarded, call{key: secret, user: "alice@example.com"})
		p := a.wantProblem(t, oncehttp.ProblemOutcomeUnknown, 503)
		do(guarded, call{key: secret, user: "alice@example.com", body: "other"})
		do(guarded, call{key: `"` + secret, user: "alice@example.com"})
		if text := log.String(); strings.Contains(text, secret) || strings.Contains(text, "alice") {
			t.Errorf("the log tells a key: %s", text)
		} else if !strings.Contains(text, p.Instance) || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "key=key:") {
			t.Errorf("the log does not tell of the problem: %s", text)
		}
	})
}

// small is a store that keeps only small outcomes.
type small struct {
	once.Store
	most int
}

func (s *small) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	if len(out.Data) > s.most {
		return once.ErrTooLarge
	}
	return s.Store.Complete(ctx, k, o, out, d)
}

func TestOutcomeTooLargeForTheStoreIsDoneAllTheSame(t *testing.T) {
	for name, most := range map[string]int{"head fits": 200, "status line fits": 40} {
		t.Run(name, func(t *testing.T) {
			h := &counter{next: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Long", strings.Repeat("x", 100))
				w.WriteHeader(201)
				io.WriteString(w, strings.Repeat("hello", 100))
			}}
			guarded := newMiddleware(t, oncehttp.Config{
				Guard: newGuard(t, once.Config{Store: &small{new(oncemem.Store), most}}),
			}).Wrap(h)
			first := do(guarded, call{key: "k"})
			first.wantStatus(t, 201)
			if len(first.body) != 500 {
				t.Errorf("the first response has %d bytes", len(first.body))
			}
			p := do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemResponseNotKept, 410)
			if p.OriginalStatus != 201 {
				t.Errorf("original status is %d", p.OriginalStatus)
			}
			h.wantRuns(t, 1)
		})
	}
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{
		Guard: newGuard(t, once.Config{Store: &small{new(oncemem.Store), 3}}),
	}).Wrap(h)
	do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemOutcomeUnknown, 503)
	do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
	h.wantRuns(t, 1)
}

// rollsBack is a store whose transactions are rolled back so many times.
type rollsBack struct {
	once.Store
	times int
}

func (s *rollsBack) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	if s.times == 0 {
		return s.Store.Complete(ctx, k, o, out, d)
	}
	s.times--
	if err := s.Store.Release(ctx, k, o); err != nil {
		return err
	}
	return once.ErrRolledBack
}

func TestRolledBackTransactionIsRunAgain(t *testing.T) {
	for _, c := range []struct {
		times int
		runs  int64
	}{{2, 3}, {1000, 11}} {
		h := created()
		next := h.next
		h.next = func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != "hello" || w.Header().Get("Location") != "" {
				t.Errorf("run %d has body %q and header %v", h.runs.Load(), body, w.Header())
			}
			next(w, r)
		}
		store := &rollsBack{new(oncemem.Store), c.times}
		guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}).Wrap(h)
		a := do(guarded, call{key: "k", body: "hello"})
		h.wantRuns(t, c.runs)
		if c.times > 100 {
			a.wantProblem(t, oncehttp.ProblemRolledBack, 503)
		} else {
			a.wantStatus(t, 201)
			do(guarded, call{key: "k", body: "hello"}).wantReplayOf(t, a)
		}
	}
}

// Where the configuration's own functions panic nobody knows the outcome, and the key is not stuck.
func TestPanicOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]oncehttp.Config{
		"Keep":         {Keep: func(int) oncehttp.Decision { panic("keep") }},
		"RetentionFor": {RetentionFor: func(*http.Request, int) time.Duration { panic("retention") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := created()
			guarded := newMiddleware(t, cfg).Wrap(h)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic was swallowed")
					}
				}()
				do(guarded, call{key: "k"})
			}()
			do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
			h.wantRuns(t, 1)
		})
	}
}
