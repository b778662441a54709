package oncemsg_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/oncetest"
)

var errNet = errors.New("connection reset")

// plain hides the optional interfaces of a store.
type plain struct{ once.Store }

// faulty returns a store in memory on which things go wrong by plan.
func faulty(plan oncetest.Plan) once.Store {
	return plain{oncetest.Faulty(new(oncemem.Store), plan)}
}

func newGuard(t testing.TB, cfg once.Config) *once.Guard {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = new(oncemem.Store)
	}
	if cfg.InDoubt == 0 {
		cfg.InDoubt = once.Rerun
	}
	cfg.DangerouslyTrustStore = cfg.InDoubt == once.Hold
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newConsumer(t testing.TB, cfg oncemsg.Config) *oncemsg.Consumer {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, once.Config{})
	}
	if cfg.Subscriber == "" {
		cfg.Subscriber = "test"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	c, err := oncemsg.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var message = oncemsg.Message{Source: "orders", ID: "7", Payload: []byte("7 euros")}

// runs is a handler that counts how often it has run and returns one error after the other, and
// then nil.
type runs struct {
	mu   sync.Mutex
	n    int
	errs []error
}

func (r *runs) handle(context.Context, oncemsg.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if r.n <= len(r.errs) {
		return r.errs[r.n-1]
	}
	return nil
}

func (r *runs) want(t testing.TB, n int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n != n {
		t.Fatalf("handler has run %d times, want %d", r.n, n)
	}
}

func wantDecision(t testing.TB, d oncemsg.Decision, kind oncemsg.Kind, verb oncemsg.Verb) {
	t.Helper()
	if d.Kind != kind || d.Verb != verb {
		t.Fatalf("decision is %v, %v (%v); want %v, %v", d.Kind, d.Verb, d.Err, kind, verb)
	}
	if verb == oncemsg.Retry && kind != oncemsg.Unavailable && d.After <= 0 {
		t.Fatalf("%v is to be tried again at once", kind)
	}
	if (d.Err == nil) != (kind == oncemsg.Ran || kind == oncemsg.Duplicate) {
		t.Fatalf("%v has the error %v", kind, d.Err)
	}
}

// outbox is what was published.
type outbox struct {
	mu   sync.Mutex
	sent []oncemsg.Output
	errs []error
}

func (o *outbox) publish(_ context.Context, outputs []oncemsg.Output) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.errs) > 0 {
		err := o.errs[0]
		o.errs = o.errs[1:]
		if err != nil {
			return err
		}
	}
	o.sent = append(o.sent, outputs...)
	return nil
}

// emitting returns a handler that emits the payloads, after another one.
func emitting(h oncemsg.Handler, payloads ...string) oncemsg.Handler {
	return func(ctx context.Context, m oncemsg.Message) error {
		for _, p := range payloads {
			err := oncemsg.Emit(ctx, oncemsg.Output{
				To: "out", OrderBy: "k", Headers: map[string]string{"from": m.ID}, Payload: []byte(p),
			})
			if err != nil {
				return err
			}
		}
		return h(ctx, m)
	}
}

// sleeping returns a handler that takes a while, and stops when its context is done.
func sleeping(d time.Duration, h oncemsg.Handler) oncemsg.Handler {
	return func(ctx context.Context, m oncemsg.Message) error {
		select {
		case <-time.After(d):
			return h(ctx, m)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
