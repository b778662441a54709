package rpc

import (
	"context"
	"errors"
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

func newOperation(t *testing.T, store once.Store, change func(*once.Config)) *Operation {
	t.Helper()
	cfg := once.Config{Store: store, InDoubt: once.Hold, DangerouslyTrustStore: true}
	if change != nil {
		change(&cfg)
	}
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &Operation{
		Guard: g, Key: once.Key{Scope: "test", ID: "1"}, Fingerprint: once.FingerprintOf([]byte("a")),
		Keep: KeepFinal, Retention: time.Hour, MaxResponse: 1000, RetryAfter: time.Second,
		Warn: func(text string, _ once.Key, err error) { t.Logf("%s: %v", text, err) },
	}
}

func replies(code Code) func(context.Context) (*Reply, error) {
	return func(context.Context) (*Reply, error) {
		return &Reply{Code: code, Message: "m", Type: "T", Data: []byte("data")}, nil
	}
}

func mustNotRun(t *testing.T) func(context.Context) (*Reply, error) {
	return func(context.Context) (*Reply, error) {
		t.Error("the handler was run")
		return &Reply{}, nil
	}
}

func wantRefused(t *testing.T, r *Reply, from Source, reason string) {
	t.Helper()
	if h := ParseHints(r.Details); from != Refused || h.Reason != reason {
		t.Errorf("reply is %+v (%d), want a refusal for %s", r, from, reason)
	}
}

func TestServeByCode(t *testing.T) {
	for code := OK; code <= Unauthenticated; code++ {
		op := newOperation(t, new(oncemem.Store), nil)
		first, from := op.Serve(t.Context(), replies(code))
		if from != Ran || first.Code != code {
			t.Fatalf("%d: first reply is %+v (%d)", code, first, from)
		}
		ran := false
		second, from := op.Serve(t.Context(), func(context.Context) (*Reply, error) {
			ran = true
			return &Reply{}, nil
		})
		switch decision := KeepFinal(code); decision {
		case oncehttp.Complete:
			if ran || from != Replayed || !second.Outcome().Equal(first.Outcome()) {
				t.Errorf("%d: second reply is %+v (%d), want a replay", code, second, from)
			}
		case oncehttp.Release:
			if !ran || from != Ran {
				t.Errorf("%d: second reply is %+v (%d), want another run", code, second, from)
			}
		default:
			if ran {
				t.Errorf("%d: was run again although in doubt", code)
			}
			wantRefused(t, second, from, InDoubt)
		}
	}
}

func TestMarksOverruleTheCode(t *testing.T) {
	cause := errors.New("cause")
	op := newOperation(t, new(oncemem.Store), nil)
	op.Serve(t.Context(), func(context.Context) (*Reply, error) { return &Reply{Code: Internal}, once.NoEffect(cause) })
	op.Serve(t.Context(), func(context.Context) (*Reply, error) { return &Reply{Code: Internal}, once.Final(cause) })
	if r, from := op.Serve(t.Context(), mustNotRun(t)); from != Replayed || r.Code != Internal {
		t.Errorf("reply is %+v (%d)", r, from)
	}
	for _, marked := range []error{once.Final(cause), once.NoEffect(cause), cause} {
		if got := Unmark(marked); got != cause {
			t.Errorf("%#v unmarked is %#v", marked, got)
		}
	}
}

func TestOtherRequestIsRefused(t *testing.T) {
	op := newOperation(t, new(oncemem.Store), nil)
	op.Serve(t.Context(), replies(OK))
	op.Fingerprint = once.FingerprintOf([]byte("b"))
	r, from := op.Serve(t.Context(), mustNotRun(t))
	wantRefused(t, r, from, KeyReused)
}

func TestHandlerOutlivesTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newOperation(t, new(oncemem.Store), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, from := op.Serve(ctx, func(ctx context.Context) (*Reply, error) {
			if _, ok := once.FromContext(ctx); !ok {
				t.Error("handler does not run under the attempt")
			}
			if _, ok := ctx.Deadline(); ok {
				t.Error("handler has the client's deadline")
			}
			select {
			case <-ctx.Done():
				t.Error("handler was stopped")
			case <-time.After(time.Minute):
			}
			return &Reply{Message: "late"}, nil
		})
		if from != Ran || r.Message != "late" {
			t.Errorf("reply is %+v (%d)", r, from)
		}
		if r, from := op.Serve(t.Context(), mustNotRun(t)); from != Replayed || r.Message != "late" {
			t.Errorf("replay is %+v (%d)", r, from)
		}
	})
}

func TestHandlerHasItsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newOperation(t, new(oncemem.Store), nil)
		op.Timeout = time.Second
		op.Serve(t.Context(), func(ctx context.Context) (*Reply, error) {
			<-ctx.Done()
			return &Reply{Code: DeadlineExceeded}, ctx.Err()
		})
		r, from := op.Serve(t.Context(), mustNotRun(t))
		wantRefused(t, r, from, InDoubt)
	})
}

func TestWaitingClientThatHangsUpIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := newOperation(t, new(oncemem.Store), func(cfg *once.Config) { cfg.Wait = time.Hour })
		release := make(chan bool)
		var wg sync.WaitGroup
		wg.Go(func() {
			op.Serve(t.Context(), func(context.Context) (*Reply, error) {
				<-release
				return &Reply{}, nil
			})
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r, from := op.Serve(ctx, mustNotRun(t)); from != Refused || r.Code != DeadlineExceeded {
			t.Errorf("reply is %+v (%d)", r, from)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r, from := op.Serve(ctx, mustNotRun(t)); from != Refused || r.Code != Canceled {
			t.Errorf("reply is %+v (%d)", r, from)
		}
		close(release)
		wg.Wait()
	})
}

func TestInFlightIsRefused(t *testing.T) {
	op := newOperation(t, new(oncemem.Store), nil)
	op.Serve(t.Context(), func(context.Context) (*Reply, error) {
		r, from := op.Serve(t.Context(), mustNotRun(t))
		wantRefused(t, r, from, InFlight)
		return &Reply{}, nil
	})
}

func TestPanicIsInDoubtAndGoesOn(t *testing.T) {
	op := newOperation(t, new(oncemem.Store), nil)
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
		}()
		op.Serve(t.Context(), func(context.Context) (*Reply, error) { panic("boom") })
	}()
	r, from := op.Serve(t.Context(), mustNotRun(t))
	wantRefused(t, r, from, InDoubt)
}

func TestLargeReplyIsDoneButNotKept(t *testing.T) {
	for _, store := range []once.Store{
		new(oncemem.Store),
		oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) (f oncetest.Fault) {
			if v == oncetest.Complete && n == 1 {
				f.Before = once.ErrTooLarge
			}
			return f
		}),
	} {
		op := newOperation(t, store, nil)
		size := 2000
		if _, memory := store.(*oncemem.Store); !memory {
			size = 10
		}
		large := &Reply{Data: []byte(strings.Repeat("x", size))}
		r, from := op.Serve(t.Context(), func(context.Context) (*Reply, error) { return large, nil })
		if r != large || from != Ran {
			t.Errorf("first reply is %+v (%d)", r, from)
		}
		r, from = op.Serve(t.Context(), mustNotRun(t))
		wantRefused(t, r, from, ResponseNotKept)
	}
}

func TestStoreThatFails(t *testing.T) {
	broken := errors.New("store is broken")
	for _, c := range []struct {
		verb   oncetest.Verb
		err    error
		reason string
		ran    bool
	}{
		{oncetest.Claim, broken, StoreUnavailable, false},
		{oncetest.Claim, once.ErrFull, StoreFull, false},
		{oncetest.Claim, once.ErrUnreadable, RecordUnreadable, false},
		{oncetest.Complete, broken, OutcomeUnknown, true},
		{oncetest.Complete, once.ErrLost, OutcomeUnknown, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, _ int) (f oncetest.Fault) {
				if v == c.verb {
					f.Before = c.err
				}
				return f
			})
			op := newOperation(t, store, nil)
			ran := false
			r, from := op.Serve(t.Context(), func(context.Context) (*Reply, error) {
				ran = true
				return &Reply{}, nil
			})
			wantRefused(t, r, from, c.reason)
			if ran != c.ran {
				t.Errorf("%v of %s: handler was run: %t", c.err, c.verb, ran)
			}
		})
	}
}

func TestLostOwnerGivesTheOutcomeOfTheOther(t *testing.T) {
	store := new(oncemem.Store)
	op := newOperation(t, store, nil)
	r, from := op.Serve(t.Context(), func(ctx context.Context) (*Reply, error) {
		a, _ := once.FromContext(ctx)
		other := (&Reply{Message: "by an operator"}).Outcome()
		if err := store.Complete(ctx, a.Key(), a.Owner(), other, time.Hour); err != nil {
			t.Error(err)
		}
		return &Reply{Message: "by the handler"}, nil
	})
	if from != Replayed || r.Message != "by an operator" {
		t.Errorf("reply is %+v (%d)", r, from)
	}
}

func TestRolledBackHandlerIsRunAgain(t *testing.T) {
	for _, times := range []int{3, 1000} {
		store := oncetest.Faulty(new(oncemem.Store), func(v oncetest.Verb, n int) (f oncetest.Fault) {
			if v == oncetest.Complete && n <= times {
				f.Before = once.ErrRolledBack
			}
			return f
		})
		op := newOperation(t, rollingBack{store}, nil)
		runs := 0
		r, from := op.Serve(t.Context(), func(context.Context) (*Reply, error) {
			runs++
			return &Reply{}, nil
		})
		if times == 3 && (runs != 4 || from != Ran) {
			t.Errorf("%d runs, reply is %+v (%d)", runs, r, from)
		}
		if times > 3 {
			wantRefused(t, r, from, RolledBack)
		}
	}
}

// rollingBack removes the claim with the transaction.
type rollingBack struct{ once.Store }

func (s rollingBack) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, keep time.Duration) error {
	err := s.Store.Complete(ctx, k, o, out, keep)
	if errors.Is(err, once.ErrRolledBack) {
		if err := s.Store.Release(ctx, k, o); err != nil {
			return err
		}
	}
	return err
}

func TestForeignOutcomeIsRefused(t *testing.T) {
	op := newOperation(t, new(oncemem.Store), nil)
	once.Do(t.Context(), op.Guard, op.Key, op.Fingerprint, func(context.Context) (int, error) { return 1, nil })
	r, from := op.Serve(t.Context(), mustNotRun(t))
	wantRefused(t, r, from, RecordUnreadable)
}
