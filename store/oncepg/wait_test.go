package oncepg_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncepg"
)

// waitFor starts a wait, and returns how it ended.
func waitFor(t testing.TB, s *oncepg.Store, c once.Claim) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- s.Wait(t.Context(), c.Key, c.Owner) }()
	return ended
}

func within(t testing.TB, ended <-chan error, what string) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("%s: the wait ended with %v", what, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s: the wait goes on", what)
	}
}

// listeners is the number of connections that wait for notifications of the schema.
func listeners(t testing.TB, b business, schema string) (n int) {
	t.Helper()
	ok(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' || $1 || '%' "+
		"AND pid <> pg_backend_pid()", schema).Scan(&n))
	return n
}

func TestWaitSurvivesTheLossOfItsConnection(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s, b := open(t, cfg), newBusiness(t, cfg.DSN)
	for round := range 3 {
		c := newClaim(once.NewOwner().String())
		wins(t, s, c)
		ended := waitFor(t, s, c)
		eventually(t, "somebody listens", func() bool { return listeners(t, b, cfg.Schema) == 1 })
		ok(t, b.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%"+cfg.Schema+"%' "+
			"AND pid <> pg_backend_pid()"))
		if round > 0 {
			eventually(t, "somebody listens again", func() bool { return listeners(t, b, cfg.Schema) == 1 })
		}
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long))
		within(t, ended, "after the connection was lost")
	}
}

func TestNobodyIsNotifiedWhereNobodyWaits(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s, b := open(t, cfg), newBusiness(t, cfg.DSN)
	conn, err := b.pool.Acquire(t.Context())
	ok(t, err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), "LISTEN once_"+cfg.Schema)
	ok(t, err)
	unwaited, waited := newClaim("unwaited"), newClaim("waited")
	for _, c := range []once.Claim{unwaited, waited} {
		wins(t, s, c)
	}
	ended := waitFor(t, s, waited)
	eventually(t, "the wait has asked to be told", func() bool {
		var n int
		ok(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+cfg.Schema+".records WHERE awaited <> 0").Scan(&n))
		return n == 1
	})
	for _, c := range []once.Claim{unwaited, waited} {
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long))
	}
	within(t, ended, "a completion")
	told, err := conn.Conn().WaitForNotification(t.Context())
	ok(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if more, err := conn.Conn().WaitForNotification(ctx); err == nil {
		t.Errorf("got notifications %q and %q, want one", told.Payload, more.Payload)
	}
}

var poolerContract = flag.Bool("pooler-contract", false, "check the whole contract through a pooler")

// A pooler in transaction mode hands each transaction to any session. The store works through it
// as without, waits by asking, and if it may, by a connection of its own past the pooler.
func TestPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	pooler := servers.PgBouncer(t, shared.server)
	direct := cfg.DSN
	cfg.DSN, cfg.Pooler = pooler.DSN, true
	if *poolerContract {
		oncetest.TestStore(t, oncetest.Options{Open: func(t *testing.T) once.Store { return open(t, cfg) }})
	}
	stores := []*oncepg.Store{open(t, cfg), open(t, cfg)}
	for n := range 20 {
		claims := []once.Claim{newClaim(fmt.Sprint(n)), newClaim(fmt.Sprint(n))}
		var won int
		for i, s := range stores {
			rec, err := s.Claim(t.Context(), claims[i])
			ok(t, err)
			if rec.Won(claims[i]) {
				won++
				ok(t, s.Renew(t.Context(), claims[i].Key, claims[i].Owner, long))
				ok(t, s.Complete(t.Context(), claims[i].Key, claims[i].Owner, outcome("x"), long))
			}
		}
		if won != 1 {
			t.Fatalf("%d of 2 claims have won", won)
		}
	}
	held := newClaim("held")
	wins(t, stores[0], held)
	polling := waitFor(t, stores[1], held)
	ok(t, stores[0].Release(t.Context(), held.Key, held.Owner))
	within(t, polling, "a release")
	b := newBusiness(t, direct)
	if n := listeners(t, b, cfg.Schema); n != 0 {
		t.Errorf("%d connections listen through a pooler", n)
	}
	cfg.Listen = direct
	s := open(t, cfg)
	c := newClaim("a")
	wins(t, s, c)
	ended := waitFor(t, s, c)
	eventually(t, "somebody listens past the pooler", func() bool { return listeners(t, b, cfg.Schema) == 1 })
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long))
	within(t, ended, "a completion")

	// Transactions are what such a pooler is for.
	g := guardOver(t, openTransactional(t, cfg))
	for range 3 {
		_, err := once.Do(t.Context(), g, key("t"), once.Fingerprint{}, func(ctx context.Context) (string, error) {
			return "done", b.add(ctx, "t")
		})
		ok(t, err)
	}
	if n := b.count(t, "t"); n != 1 {
		t.Errorf("there are %d effects, want 1", n)
	}
}

// A pool may learn how to connect only when it does, such as a password that is soon over.
func TestListenerConnectsLikeThePool(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	b := newBusiness(t, cfg.DSN)
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	ok(t, err)
	port := pc.ConnConfig.Port
	pc.ConnConfig.Port = 1
	pc.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
		cc.Port = port
		return nil
	}
	cfg.DSN = ""
	cfg.Pool, err = pgxpool.NewWithConfig(t.Context(), pc)
	ok(t, err)
	t.Cleanup(cfg.Pool.Close)
	s, c := open(t, cfg), newClaim("a")
	wins(t, s, c)
	ended := waitFor(t, s, c)
	eventually(t, "somebody listens", func() bool { return listeners(t, b, cfg.Schema) == 1 })
	ok(t, s.Release(t.Context(), c.Key, c.Owner))
	within(t, ended, "after the release")
}
