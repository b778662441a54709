package onceredis_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/skew"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/onceredis"
)

// open returns a store that is closed when the test ends.
func open(t testing.TB, cfg onceredis.Config) *onceredis.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := onceredis.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func dsn(r *servers.RedisServer) string { return "redis://" + r.Addr }

// The servers are tested at the same time, whatever go test is told about parallel tests: most of
// the time the kit waits for leases to end.
func TestStore(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.Run("one server", oneServer) })
	wg.Go(func() { t.Run("cluster", cluster) })
	wg.Go(func() { t.Run("sentinel with replicas", sentinel) })
}

func oneServer(t *testing.T) {
	r := servers.Redis(t, "appendfsync always")
	o := options(onceredis.Config{DSN: dsn(r)})
	o.Reopen = func(t *testing.T, s once.Store) once.Store {
		s.(*onceredis.Store).Close()
		r.Kill()
		r.Restart(t)
		return open(t, onceredis.Config{DSN: dsn(r)})
	}
	oncetest.TestStore(t, o)
}

// options are those of the kit, for handles that are opened as often as it wants.
func options(cfg onceredis.Config) oncetest.Options {
	return oncetest.Options{
		Open:   func(t *testing.T) once.Store { return open(t, cfg) },
		Second: func(t *testing.T, _ once.Store) once.Store { return open(t, cfg) },
		SkewedHandle: func(t *testing.T, _ once.Store, by time.Duration) once.Store {
			return skew.Open(t, by, func(ctx context.Context) (once.Store, error) { return onceredis.Open(ctx, cfg) })
		},
	}
}
