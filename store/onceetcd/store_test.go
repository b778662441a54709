package onceetcd_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/skew"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/onceetcd"
)

// open returns a store that is closed when the test ends.
func open(t testing.TB, cfg onceetcd.Config) *onceetcd.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second // machines that run tests are busy
	}
	s, err := onceetcd.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func dsn(all ...*servers.EtcdServer) string {
	var addrs []string
	for _, s := range all {
		addrs = append(addrs, s.Addr)
	}
	return "etcd://" + strings.Join(addrs, ",")
}

// The kit is run on several clusters at the same time, whatever go test is told about parallel
// tests: most of the time it waits for leases to end.
func TestStore(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.Run("one member", oneMember) })
	wg.Go(func() { t.Run("three members", threeMembers) })
}

func oneMember(t *testing.T) {
	e := servers.Etcd(t, etcd)
	o := options(t, onceetcd.Config{DSN: dsn(e)})
	o.Reopen = func(t *testing.T, s once.Store) once.Store {
		s.(*onceetcd.Store).Close()
		e.Kill()
		e.Restart(t)
		return open(t, onceetcd.Config{DSN: dsn(e)})
	}
	shared := o.Open
	o.Open = func(t *testing.T) once.Store {
		if strings.HasSuffix(t.Name(), "opened_again") {
			return open(t, onceetcd.Config{DSN: dsn(e)}) // and closed
		}
		return shared(t)
	}
	oncetest.TestStore(t, o)
}

func threeMembers(t *testing.T) {
	oncetest.TestStore(t, options(t, onceetcd.Config{DSN: dsn(servers.EtcdCluster(t, etcd)...)}))
}

// options are those of the kit, with two handles that its subtests share: to open one asks more of
// the servers than most subtests do, and each has etcd leases of its own. Etcd counts in
// seconds, looks for leases that are over twice a second, and never ends them too early: that, and
// by how much too late, is for TestLeasesEndALittleLate.
func options(t *testing.T, cfg onceetcd.Config) oncetest.Options {
	first, other := open(t, cfg), open(t, cfg)
	return oncetest.Options{
		Parallel:  16,
		Lease:     400 * time.Millisecond,
		Slack:     3 * time.Second,
		Histories: 1,
		Steps:     250,
		Open:      func(*testing.T) once.Store { return first },
		Second:    func(*testing.T, once.Store) once.Store { return other },
		SkewedHandle: func(t *testing.T, _ once.Store, by time.Duration) once.Store {
			t.Context().Done() // is made by who asks first, which must not be the bubble
			return skew.Open(t, by, func(ctx context.Context) (once.Store, error) { return onceetcd.Open(ctx, cfg) })
		},
	}
}
