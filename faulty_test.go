package once_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

var errNet = errors.New("connection reset")

// meddler is a store between the guard and a real one. Its functions are asked about every
// verb: before decides if it gets there, after if its reply comes back.
type meddler struct {
	once.Store
	calls map[string]*atomic.Int64

	mu            sync.Mutex
	before, after meddling
}

type meddling func(ctx context.Context, verb string) error

func (m *meddler) set(before, after meddling) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

func meddle(s once.Store) *meddler {
	m := &meddler{Store: s, calls: map[string]*atomic.Int64{}}
	for _, v := range []string{"claim", "renew", "complete", "release", "load"} {
		m.calls[v] = new(atomic.Int64)
	}
	return m
}

func (m *meddler) do(ctx context.Context, verb string, call func() error) error {
	m.calls[verb].Add(1)
	m.mu.Lock()
	before, after := m.before, m.after
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx, verb); err != nil {
			return err
		}
	}
	err := call()
	if after != nil {
		if lost := after(ctx, verb); lost != nil {
			return lost
		}
	}
	return err
}

func (m *meddler) Claim(ctx context.Context, c once.Claim) (rec once.Record, err error) {
	err = m.do(ctx, "claim", func() (err error) { rec, err = m.Store.Claim(ctx, c); return err })
	if err != nil {
		return once.Record{}, err
	}
	return rec, nil
}

func (m *meddler) Renew(ctx context.Context, k once.Key, o once.Owner, d time.Duration) error {
	return m.do(ctx, "renew", func() error { return m.Store.Renew(ctx, k, o, d) })
}

func (m *meddler) Complete(ctx context.Context, k once.Key, o once.Owner, out once.Outcome, d time.Duration) error {
	return m.do(ctx, "complete", func() error { return m.Store.Complete(ctx, k, o, out, d) })
}

func (m *meddler) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return m.do(ctx, "release", func() error { return m.Store.Release(ctx, k, o) })
}

func (m *meddler) Load(ctx context.Context, k once.Key) (rec once.Record, err error) {
	err = m.do(ctx, "load", func() (err error) { rec, err = m.Store.Load(ctx, k); return err })
	return rec, err
}

// first returns a function that fails the first n calls of a verb.
func first(n int, verb string, err error) meddling {
	var calls atomic.Int64
	return func(_ context.Context, v string) error {
		if v == verb && calls.Add(1) <= int64(n) {
			return err
		}
		return nil
	}
}

func newGuard(t *testing.T, cfg once.Config) *once.Guard {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = new(oncemem.Store)
	}
	if cfg.InDoubt == 0 {
		cfg.InDoubt = once.Hold
	}
	cfg.DangerouslyTrustStore = cfg.InDoubt == once.Hold
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var key = once.Key{Scope: "test", ID: "1"}

func result(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

func mustNotRun(t *testing.T) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		t.Error("the operation was run, and must not be")
		return "", nil
	}
}

func do(g *once.Guard, fn func(context.Context) (string, error)) (string, error) {
	return once.Do(context.Background(), g, key, once.Fingerprint{}, fn)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func wantResult(t *testing.T, got string, err error, want string) {
	t.Helper()
	if err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}
