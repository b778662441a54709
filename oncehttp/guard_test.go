package oncehttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

func TestRetryIsGivenTheFirstResponse(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	first := do(guarded, call{key: "k", body: `{"a":1}`})
	first.wantStatus(t, 201)
	second := do(guarded, call{key: "k", body: `{"a":1}`})
	second.wantReplayOf(t, first)
	if got := second.Header.Get("Location"); got != "/things/1" {
		t.Errorf("location of the replay is %q", got)
	}
	if got := second.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("cache control of the replay is %q", got)
	}
	h.wantRuns(t, 1)
}

func TestOperationsAreIndependent(t *testing.T) {
	base := call{key: "k", body: `{"a":1}`}
	for name, change := range map[string]func(*call){
		"another key":    func(c *call) { c.key = "l" },
		"another user":   func(c *call) { c.user = "bob" },
		"another route":  func(c *call) { c.target = "/others" },
		"another method": func(c *call) { c.method = "PATCH" },
	} {
		t.Run(name, func(t *testing.T) {
			h := created()
			guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
			other := base
			change(&other)
			do(guarded, base)
			if a := do(guarded, other); a.replayed() {
				t.Error("the response is a replay")
			}
			h.wantRuns(t, 2)
		})
	}
}

func TestQuotedAndBareAreTheSameKey(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	first := do(guarded, call{key: `"abc"`})
	do(guarded, call{key: `abc`}).wantReplayOf(t, first)
	do(guarded, call{key: `"abc";v=1`}).wantReplayOf(t, first)
	h.wantRuns(t, 1)

	strict := newMiddleware(t, oncehttp.Config{Strict: true}).Wrap(h)
	do(strict, call{key: `abc`}).wantProblem(t, oncehttp.ProblemKeyInvalid, 400)
	h.wantRuns(t, 1)
}

func TestKeyUsedForAnotherRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &counter{next: func(w http.ResponseWriter, _ *http.Request) { <-release; io.WriteString(w, "secret") }}
		guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
		done := make(chan *answer)
		go func() { done <- do(guarded, call{key: "k", body: "1"}) }()
		synctest.Wait()
		for range 2 { // while in flight, and when done
			a := do(guarded, call{key: "k", body: "2"})
			p := a.wantProblem(t, oncehttp.ProblemKeyReused, 422)
			if p.Retryable || strings.Contains(a.body, "secret") || a.replayed() {
				t.Errorf("the refusal says too much: %s", a.body)
			}
			if release != nil {
				close(release)
				release = nil
				(<-done).wantStatus(t, 200)
			}
		}
		h.wantRuns(t, 1)
	})
}

func TestDuplicateInFlightIsRefusedAndLaterReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &counter{next: func(w http.ResponseWriter, _ *http.Request) { <-release; w.WriteHeader(201) }}
		guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
		done := make(chan *answer)
		go func() { done <- do(guarded, call{key: "k"}) }()
		synctest.Wait()
		p := do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInFlight, 409)
		if !p.Retryable {
			t.Error("the problem is not retryable")
		}
		close(release)
		first := <-done
		first.wantStatus(t, 201)
		do(guarded, call{key: "k"}).wantReplayOf(t, first)
		h.wantRuns(t, 1)
	})
}

func TestDuplicateWaitsForTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := created()
		next := h.next
		h.next = func(w http.ResponseWriter, r *http.Request) { time.Sleep(3 * time.Second); next(w, r) }
		guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Wait: time.Minute})}).Wrap(h)
		var wg sync.WaitGroup
		answers := make([]*answer, 20)
		for i := range answers {
			wg.Go(func() { answers[i] = do(guarded, call{key: "k"}) })
		}
		wg.Wait()
		h.wantRuns(t, 1)
		fresh := 0
		for _, a := range answers {
			a.wantStatus(t, 201)
			if a.body != answers[0].body {
				t.Errorf("body is %q, want %q", a.body, answers[0].body)
			}
			if !a.replayed() {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("%d responses are no replay, want 1", fresh)
		}
	})
}

// A waiter that gives up must not take the owner's claim with it.
func TestWaiterThatGivesUpChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := created()
		next := h.next
		h.next = func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute); next(w, r) }
		guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Wait: time.Hour})}).Wrap(h)
		done := make(chan *answer)
		go func() { done <- do(guarded, call{key: "k"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, call{key: "k"}.request().WithContext(ctx))
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the waiter gave up after %v, want its own second", waited)
		}
		first := <-done
		first.wantStatus(t, 201)
		do(guarded, call{key: "k"}).wantReplayOf(t, first)
		h.wantRuns(t, 1)
	})
}

// The client hangs up while the handler runs: the case that idempotency is for.
func TestClientThatHangsUpCausesNoSecondRun(t *testing.T) {
	t.Parallel()
	var started chan struct{}
	var clients chan context.Context
	h := created()
	next := h.next
	h.next = func(w http.ResponseWriter, r *http.Request) {
		close(started)
		select {
		case <-(<-clients).Done():
		case <-time.After(30 * time.Second):
			t.Error("the server does not notice")
		}
		a, _ := once.FromContext(r.Context())
		if r.Context().Err() != nil || a.Context().Err() != nil {
			t.Errorf("contexts are done: %v, %v", r.Context().Err(), a.Context().Err())
		}
		next(w, r)
	}
	for _, wait := range []time.Duration{0, time.Minute} {
		t.Run(fmt.Sprint("wait ", wait), func(t *testing.T) {
			h.runs.Store(0)
			started, clients = make(chan struct{}), make(chan context.Context, 1)
			guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Wait: wait})}).Wrap(h)
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case clients <- r.Context():
				default: // not the first
				}
				guarded.ServeHTTP(w, r)
			}))
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			request := "POST /things HTTP/1.1\r\nHost: x\r\nX-User: alice\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\nhi"
			io.WriteString(conn, request)
			<-started
			conn.Close()
			var a *answer
			eventually(t, "the response is recorded", func() bool {
				conn, err := net.Dial("tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(30 * time.Second))
				io.WriteString(conn, request)
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				a = &answer{res, string(readAll(t, res.Body))}
				return a.StatusCode != 409
			})
			a.wantStatus(t, 201)
			if !a.replayed() {
				t.Error("the retry was not given a replay")
			}
			h.wantRuns(t, 1)
		})
	}
}

func TestClientThatHangsUpBeforeTheClaimLeavesTheKeyFree(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Wait: time.Minute})}).Wrap(h)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guarded.ServeHTTP(httptest.NewRecorder(), call{key: "k"}.request().WithContext(ctx))
	h.wantRuns(t, 0)
	first := do(guarded, call{key: "k"})
	first.wantStatus(t, 201)
	h.wantRuns(t, 1)
}

func TestHandlerSlowerThanItsLeaseRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		h := created()
		next := h.next
		h.next = func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			if err := r.Context().Err(); err != nil {
				t.Error("the handler's context is done:", err)
			}
			next(w, r)
		}
		config := once.Config{Store: store, Lease: time.Second, InDoubt: once.Rerun}
		here := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, config)}).Wrap(h)
		there := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, config)}).Wrap(h)
		done := make(chan *answer)
		go func() { done <- do(here, call{key: "k"}) }()
		for range 5 {
			time.Sleep(500 * time.Millisecond)
			do(there, call{key: "k"}).wantProblem(t, oncehttp.ProblemInFlight, 409)
		}
		first := <-done
		first.wantStatus(t, 201)
		do(there, call{key: "k"}).wantReplayOf(t, first)
		h.wantRuns(t, 1)
	})
}

func TestParallelDuplicatesOfTwoGuardsRunOnce(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Minute} {
		t.Run(fmt.Sprint("wait ", wait), func(t *testing.T) {
			t.Parallel()
			store := new(oncemem.Store)
			h := created()
			var guarded []http.Handler
			for range 2 {
				g := newGuard(t, once.Config{Store: store, Wait: wait})
				guarded = append(guarded, newMiddleware(t, oncehttp.Config{Guard: g}).Wrap(h))
			}
			var wg sync.WaitGroup
			answers := make([]*answer, 200)
			for i := range answers {
				wg.Go(func() { answers[i] = do(guarded[i%2], call{key: "k", body: "{}"}) })
			}
			wg.Wait()
			h.wantRuns(t, 1)
			for _, a := range answers {
				if a.StatusCode == 409 && wait == 0 {
					a.wantProblem(t, oncehttp.ProblemInFlight, 409)
				} else if a.StatusCode != 201 || a.body != `{"run":1}`+"\n" {
					t.Errorf("a duplicate is given %d %q", a.StatusCode, a.body)
				}
			}
			a := do(guarded[0], call{key: "k", body: "{}"})
			a.wantStatus(t, 201)
			if !a.replayed() {
				t.Error("a later retry is not given a replay")
			}
		})
	}
}

// The policy decides after a panic, and the key is not stuck.
func TestPanic(t *testing.T) {
	for _, c := range []struct {
		policy once.Policy
		runs   int64
	}{{once.Rerun, 2}, {once.Hold, 1}} {
		t.Run(c.policy.String(), func(t *testing.T) {
			h := created()
			next := h.next
			h.next = func(w http.ResponseWriter, r *http.Request) {
				if h.runs.Load() == 1 {
					w.Header().Set("X-Half", "done")
					io.WriteString(w, "half")
					panic(http.ErrAbortHandler)
				}
				next(w, r)
			}
			guarded := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{InDoubt: c.policy})}).Wrap(h)
			w := httptest.NewRecorder()
			func() {
				defer func() {
					if got := recover(); got != http.ErrAbortHandler {
						t.Errorf("the panic became %v", got)
					}
				}()
				guarded.ServeHTTP(w, call{key: "k"}.request())
			}()
			if w.Body.Len() > 0 {
				t.Errorf("the client was sent %q", w.Body)
			}
			a := do(guarded, call{key: "k"})
			if c.policy == once.Rerun {
				a.wantStatus(t, 201)
			} else {
				p := a.wantProblem(t, oncehttp.ProblemInDoubt, 500)
				if p.Retryable {
					t.Error("the problem is retryable")
				}
			}
			h.wantRuns(t, c.runs)
		})
	}
}

func TestGoexitIsLikeAPanic(t *testing.T) {
	h := &counter{next: func(http.ResponseWriter, *http.Request) { runtime.Goexit() }}
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(guarded, call{key: "k"})
	}()
	<-done
	do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemInDoubt, 500)
	h.wantRuns(t, 1)
}

func TestHandlerIsToldWhenTheLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		guard := newGuard(t, once.Config{Store: store, Lease: time.Second, InDoubt: once.Rerun})
		h := &counter{next: func(w http.ResponseWriter, r *http.Request) {
			a, ok := once.FromContext(r.Context())
			if !ok {
				t.Error("the context carries no attempt")
				return
			}
			store.Release(context.Background(), a.Key(), a.Owner()) // somebody intervenes
			child, cancel := context.WithCancel(r.Context())
			defer cancel()
			select {
			case <-child.Done():
			case <-time.After(time.Minute):
				t.Error("the context goes on")
			}
			for _, ctx := range []context.Context{child, r.Context()} {
				if !errors.Is(context.Cause(ctx), once.ErrLost) || ctx.Err() != context.Canceled {
					t.Errorf("context ends with %v, cause %v", ctx.Err(), context.Cause(ctx))
				}
			}
			w.WriteHeader(201)
		}}
		guarded := newMiddleware(t, oncehttp.Config{Guard: guard}).Wrap(h)
		do(guarded, call{key: "k"}).wantProblem(t, oncehttp.ProblemOutcomeUnknown, 503)
	})
}

// As in net/http, what waits for the end of the request is told of it.
func TestContextEndsWithTheHandler(t *testing.T) {
	for _, asked := range []bool{false, true} {
		var ctx context.Context
		h := &counter{next: func(_ http.ResponseWriter, r *http.Request) {
			if ctx = r.Context(); asked {
				ctx.Done()
			}
			if ctx.Err() != nil {
				t.Error("the context ends too early")
			}
		}}
		do(newMiddleware(t, oncehttp.Config{}).Wrap(h), call{key: "k"})
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Second):
			t.Error("the context does not end")
		}
		if ctx.Err() != context.Canceled {
			t.Errorf("the context ends with %v", ctx.Err())
		}
	}
}

// The owner that lost the operation gives its caller the outcome of the one who took over.
func TestLateOwnerAnswersWithTheRecordedOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(oncemem.Store)
		guard := newGuard(t, once.Config{Store: store, Lease: time.Second, InDoubt: once.Rerun})
		other := newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store, InDoubt: once.Rerun})})
		h := created()
		next := h.next
		h.next = func(w http.ResponseWriter, r *http.Request) {
			if h.runs.Load() == 1 {
				a, _ := once.FromContext(r.Context())
				store.Renew(context.Background(), a.Key(), a.Owner(), 0)
				do(other.Wrap(h), call{key: "k"}).wantStatus(t, 201)
				w.WriteHeader(200)
				io.WriteString(w, "not the outcome")
				return
			}
			next(w, r)
		}
		guarded := newMiddleware(t, oncehttp.Config{Guard: guard}).Wrap(h)
		late := do(guarded, call{key: "k"})
		if late.body != `{"run":2}`+"\n" || !late.replayed() {
			t.Errorf("the late owner's caller is given %q", late.body)
		}
		h.wantRuns(t, 2)
	})
}

// Not even then is it given the outcome of another request.
func TestLateOwnerIsNotGivenTheOutcomeOfAnotherRequest(t *testing.T) {
	store := new(oncemem.Store)
	guarded := func(h http.Handler) http.Handler {
		return newMiddleware(t, oncehttp.Config{Guard: newGuard(t, once.Config{Store: store})}).Wrap(h)
	}
	secret := &counter{next: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") }}
	h := &counter{next: func(_ http.ResponseWriter, r *http.Request) {
		a, _ := once.FromContext(r.Context())
		store.Release(r.Context(), a.Key(), a.Owner()) // somebody intervenes
		do(guarded(secret), call{key: "k", body: "2"}).wantStatus(t, 200)
	}}
	a := do(guarded(h), call{key: "k", body: "1"})
	a.wantProblem(t, oncehttp.ProblemOutcomeUnknown, 503)
	if strings.Contains(a.body, "secret") {
		t.Errorf("body is %s", a.body)
	}
}

func TestTokenRefreshedBetweenTwoTriesIsTheSameOperation(t *testing.T) {
	h := created()
	guarded := newMiddleware(t, oncehttp.Config{}).Wrap(h)
	first := do(guarded, call{key: "k", header: http.Header{"Authorization": {"Bearer one"}}})
	do(guarded, call{key: "k", header: http.Header{"Authorization": {"Bearer two"}}}).wantReplayOf(t, first)
	h.wantRuns(t, 1)
}
