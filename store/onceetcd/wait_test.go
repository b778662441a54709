package onceetcd_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

// waiting starts a wait for the claim's end, and returns once it has seen that it has to wait.
func waiting(t *testing.T, s *onceetcd.Store, requests *counter, c once.Claim) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	_, err := requests.of(func() error {
		go func() { ended <- s.Wait(t.Context(), c.Key, c.Owner) }()
		eventually(t, "it has asked", func() bool {
			requests.mu.Lock()
			defer requests.mu.Unlock()
			return requests.calls["Txn"] > 0
		})
		return nil
	})
	ok(t, err)
	return ended
}

// Waits are told, they do not ask: also of a lease that ran out.
func TestWaitIsToldByAnotherHandle(t *testing.T) {
	t.Parallel()
	cfg := onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd)), Timeout: 30 * time.Second}
	s, requests := counted(t, cfg)
	other := open(t, cfg)
	ctx := t.Context()
	for name, end := range map[string]func(c once.Claim) error{
		"complete":                   func(c once.Claim) error { return other.Complete(ctx, c.Key, c.Owner, result, time.Hour) },
		"complete without retention": func(c once.Claim) error { return other.Complete(ctx, c.Key, c.Owner, result, 0) },
		"release":                    func(c once.Claim) error { return other.Release(ctx, c.Key, c.Owner) },
		"end of the lease":           func(c once.Claim) error { return other.Renew(ctx, c.Key, c.Owner, 0) },
		"lease that runs out":        func(c once.Claim) error { return other.Renew(ctx, c.Key, c.Owner, 1) },
		"forget":                     func(c once.Claim) error { return other.Forget(ctx, c.Key, c.Owner) },
	} {
		c := newClaim()
		wins(t, other, c)
		ended := waiting(t, s, requests, c)
		ok(t, other.Renew(ctx, c.Key, c.Owner, 2*time.Hour)) // not an end
		ok(t, end(c))
		if err := <-ended; err != nil {
			t.Errorf("%s: wait returned %v", name, err)
		}
		requests.mu.Lock()
		if n := requests.calls["Txn"]; n > 2 { // a second one only after ten seconds
			t.Errorf("%s: the wait has asked %d times, want to be told", name, n)
		}
		requests.mu.Unlock()
	}
}

// What happens while the connection is lost is noticed afterwards.
func TestWaitSurvivesTheLossOfItsConnection(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	p := servers.NewProxy(t, e.Addr)
	s, requests := counted(t, onceetcd.Config{DSN: "etcd://" + p.Addr, Timeout: 30 * time.Second})
	direct := open(t, onceetcd.Config{DSN: dsn(e)})
	c := newClaim()
	wins(t, direct, c)
	ended := waiting(t, s, requests, c)
	p.Cut()
	ok(t, direct.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	select {
	case err := <-ended:
		t.Fatalf("wait returned %v without a connection", err)
	default:
	}
	p.Mend()
	ok(t, <-ended)
}

// The revision from which a wait watches may be gone by the time it is connected again.
func TestWaitSurvivesCompaction(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	p := servers.NewProxy(t, e.Addr)
	s, requests := counted(t, onceetcd.Config{DSN: "etcd://" + p.Addr, Timeout: 30 * time.Second})
	direct, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	c := newClaim()
	wins(t, direct, c)
	ended := waiting(t, s, requests, c)
	p.Cut()
	ok(t, direct.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	r, err := client.Put(t.Context(), "x", "y")
	ok(t, err)
	ok(t, second(client.Compact(t.Context(), r.Header.Revision)))
	p.Mend()
	ok(t, <-ended)
}
