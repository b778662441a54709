package oncenats_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncenats"
)

// The end is told: the wait ends though it asks only once, at its beginning.
func TestWaitIsTold(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	g := newGate(t, n.addr())
	s, owner := open(t, oncenats.Config{DSN: "nats://" + g.addr}), open(t, oncenats.Config{DSN: n.dsn()})
	s.NeverAskAgain()
	for _, end := range []func(once.Claim) error{
		func(c once.Claim) error { return owner.Complete(t.Context(), c.Key, c.Owner, result, time.Hour) },
		func(c once.Claim) error { return owner.Complete(t.Context(), c.Key, c.Owner, result, 0) },
		func(c once.Claim) error { return owner.Release(t.Context(), c.Key, c.Owner) },
		func(c once.Claim) error { return owner.Renew(t.Context(), c.Key, c.Owner, 0) },
		func(c once.Claim) error { return owner.Forget(t.Context(), c.Key, c.Owner) },
	} {
		c := newClaim()
		wins(t, owner, c)
		waited := make(chan error, 1)
		g.expect(0)
		go func() { waited <- s.Wait(t.Context(), c.Key, c.Owner) }()
		eventually(t, "it has asked", func() bool { return g.count() == 2 })
		ok(t, end(c))
		ok(t, <-waited)
	}
}

// What is told while the connection is down is lost; the wait finds out by itself.
func TestWaitOutlivesTheConnection(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	p := servers.NewProxy(t, n.addr())
	s, owner := open(t, oncenats.Config{DSN: "nats://" + p.Addr}), open(t, oncenats.Config{DSN: n.dsn()})
	c := newClaim()
	wins(t, owner, c)
	waited := make(chan error, 1)
	before := p.Requests()
	go func() { waited <- s.Wait(t.Context(), c.Key, c.Owner) }()
	eventually(t, "it waits", func() bool { return p.Requests() > before+2 })
	p.Cut()
	ok(t, owner.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	p.Mend()
	ok(t, <-waited)
}
