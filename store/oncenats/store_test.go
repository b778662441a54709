package oncenats_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/skew"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncenats"
)

// open returns a store that is closed when the test ends.
func open(t testing.TB, cfg oncenats.Config) *oncenats.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := oncenats.Open(ctx, patient(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// patient gives the servers time on a busy machine.
func patient(cfg oncenats.Config) oncenats.Config {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 30 * time.Second
	}
	return cfg
}

// migrate tries again and again, since servers that have no leader yet do not answer.
func migrate(t testing.TB, cfg oncenats.Config) {
	t.Helper()
	cfg.Timeout = 2 * time.Second
	eventually(t, "the stream is made", func() bool { return oncenats.Migrate(t.Context(), patient(cfg)) == nil })
}

func join(list []string) string { return strings.Join(list, ",") }

func clusterDSN(all []*natsServer) string {
	var addrs []string
	for _, n := range all {
		addrs = append(addrs, n.addr())
	}
	return "nats://" + join(addrs)
}

// All is tested at the same time, whatever go test is told about parallel tests: most of the time the
// kit waits for leases to end.
func TestStore(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.Run("one server", oneServer) })
	wg.Go(func() { t.Run("cluster", cluster) })
}

func oneServer(t *testing.T) {
	n := startNodes(t, 1, true)[0]
	o := options(oncenats.Config{DSN: nodesDSN([]*node{n})})
	o.Reopen = func(t *testing.T, s once.Store) once.Store {
		s.(*oncenats.Store).Close()
		n.kill()
		n.start(t)
		return open(t, oncenats.Config{DSN: nodesDSN([]*node{n})})
	}
	oncetest.TestStore(t, o)
}

func cluster(t *testing.T) {
	oncetest.TestStore(t, options(oncenats.Config{DSN: nodesDSN(startNodes(t, 3, false))}))
}

// options are those of the kit, for handles that are opened as often as it wants.
func options(cfg oncenats.Config) oncetest.Options {
	return oncetest.Options{
		Parallel: 8,
		Open:     func(t *testing.T) once.Store { return open(t, cfg) },
		Second:   func(t *testing.T, _ once.Store) once.Store { return open(t, cfg) },
		SkewedHandle: func(t *testing.T, _ once.Store, by time.Duration) once.Store {
			return skew.Open(t, by, func(ctx context.Context) (once.Store, error) { return oncenats.Open(ctx, patient(cfg)) })
		},
	}
}

var result = once.Outcome{Type: "text/plain", Data: []byte("the result")}

func newClaim() once.Claim {
	return claimOn(once.Key{Scope: "test", ID: once.NewOwner().String()})
}

func claimOn(k once.Key) once.Claim {
	return once.Claim{Key: k, Owner: once.NewOwner(), Lease: time.Hour}
}

func wins(t testing.TB, s once.Store, c once.Claim) once.Record {
	t.Helper()
	rec, err := s.Claim(t.Context(), c)
	if err != nil || !rec.Won(c) {
		t.Fatalf("claim: got %v record, error %v; want to win", rec.State, err)
	}
	return rec
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

// eventually waits until it is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after two minutes: %s", what)
		}
	}
}
