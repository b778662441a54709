package oncepg_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// trips counts what is sent to the server, and keeps the arguments.
type trips struct {
	mu   sync.Mutex
	n    int
	args []any
}

func (t *trips) sent(args []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.args = append(t.args, args...)
}

func (t *trips) trip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

// take returns how many round trips there were since it was called last.
func (t *trips) take() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.n
	t.n = 0
	return n
}

func (t *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	t.trip()
	t.sent(d.Args)
	return ctx
}
func (t *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	t.trip()
	return ctx
}
func (t *trips) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	t.sent(d.Args)
}
func (t *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (t *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// traced returns a configuration with a pool whose round trips are counted.
func traced(t testing.TB) (oncepg.Config, *trips) {
	t.Helper()
	return tracedOn(t, migrated(t, config(t)))
}

func tracedOn(t testing.TB, cfg oncepg.Config) (oncepg.Config, *trips) {
	t.Helper()
	pc, err := pgxpool.ParseConfig(cfg.DSN)
	ok(t, err)
	counted := new(trips)
	pc.ConnConfig.Tracer = counted
	pc.MaxConns = 40
	cfg.Pool, err = pgxpool.NewWithConfig(t.Context(), pc)
	ok(t, err)
	t.Cleanup(cfg.Pool.Close)
	cfg.DSN = ""
	return cfg, counted
}

// What is large does not travel with all that comes at the same time.
func TestLargeOutcomesAreNotSentTogether(t *testing.T) {
	t.Parallel()
	p, through := proxied(t)
	cfg, counted := tracedOn(t, through)
	cfg.Timeout = time.Minute
	s := open(t, cfg)
	large := outcome(strings.Repeat("x", 1<<20))
	const calls = 24
	claims := make([]once.Claim, calls)
	for n := range claims {
		claims[n] = newClaim(fmt.Sprint(n))
	}
	for _, r := range s.ClaimBatch(t.Context(), claims) {
		ok(t, r.Err)
	}
	counted.take()
	p.Pause()
	var all sync.WaitGroup
	for _, c := range claims {
		all.Go(func() {
			if err := s.Complete(context.Background(), c.Key, c.Owner, large, long); err != nil {
				t.Errorf("complete: %v", err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // most of them wait; if not, they are sent alone
	p.Resume()
	all.Wait()
	if got := counted.take(); got < calls/5 {
		t.Errorf("%d outcomes of 1 MiB were sent in %d round trips", calls, got)
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	cfg, counted := traced(t)
	s := open(t, cfg)
	expect := func(what string, want int, verb func()) {
		t.Helper()
		counted.take()
		verb()
		if got := counted.take(); got != want {
			t.Errorf("%s takes %d round trips, want %d", what, got, want)
		}
	}
	c, ctx := newClaim("a"), t.Context()
	expect("a fresh claim", 1, func() { wins(t, s, c) })
	expect("a claim in flight", 1, func() { s.Claim(ctx, newClaim("a")) })
	expect("a renewal", 1, func() { ok(t, s.Renew(ctx, c.Key, c.Owner, long)) })
	expect("the end of a lease", 1, func() { ok(t, s.Renew(ctx, c.Key, c.Owner, 0)) })
	c.Owner = once.NewOwner()
	c.Takeover = 5
	expect("a takeover", 2, func() { wins(t, s, c) })
	expect("a completion", 1, func() { ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("x"), long)) })
	expect("a replay", 1, func() { s.Claim(ctx, newClaim("a")) })
	expect("a load", 1, func() { s.Load(ctx, c.Key) })
	expect("a mismatch", 1, func() {
		other := newClaim("a")
		other.Fingerprint[0] ^= 1
		s.Claim(ctx, other)
	})
	expect("a repeated completion", 2, func() { ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("x"), long)) })
	c = newClaim("b")
	wins(t, s, c)
	expect("a release", 1, func() { ok(t, s.Release(ctx, c.Key, c.Owner)) })
	expect("a claim after a release", 2, func() { wins(t, s, newClaim("b")) })
	claims := make([]once.Claim, 50)
	for n := range claims {
		claims[n] = newClaim(fmt.Sprint("batch", n))
	}
	expect("a batch of 50 claims", 1, func() {
		for _, r := range s.ClaimBatch(ctx, claims) {
			ok(t, r.Err)
		}
	})

	transactional := openTransactional(t, cfg)
	c = newClaim("t")
	expect("a transactional claim", 1, func() { wins(t, transactional, c) })
	expect("a transactional completion", 1, func() {
		ok(t, transactional.Complete(ctx, c.Key, c.Owner, outcome("x"), long))
	})
}

// No instant of a client's clock is ever sent: so it does not matter what that shows.
func TestClientsClockIsNotSent(t *testing.T) {
	t.Parallel()
	cfg, counted := traced(t)
	s, ctx := open(t, cfg), t.Context()
	g := guardOver(t, s)
	for range 3 {
		_, err := once.Do(ctx, g, key("a"), once.Fingerprint{1}, func(context.Context) (int, error) { return 1, nil })
		ok(t, err)
	}
	c := newClaim("b")
	wins(t, s, c)
	ok(t, s.Renew(ctx, c.Key, c.Owner, 0))
	c.Owner, c.Takeover = once.NewOwner(), 5
	wins(t, s, c)
	ok(t, s.Release(ctx, c.Key, c.Owner))
	_, err := s.Sweep(ctx)
	ok(t, err)
	for _, err := range s.List(ctx, once.Filter{OlderThan: time.Second}) {
		ok(t, err)
	}
	counted.mu.Lock()
	defer counted.mu.Unlock()
	for _, arg := range counted.args {
		switch arg.(type) {
		case []byte, string, bool, int16, int32, int64, pgtype.UUID, pgtype.Interval:
		default:
			t.Errorf("an argument of type %T was sent", arg)
		}
	}
	if len(counted.args) < 50 {
		t.Errorf("only %d arguments were seen", len(counted.args))
	}
}

// Many callers at once share round trips and commits.
func TestConcurrentVerbsShareRoundTrips(t *testing.T) {
	t.Parallel()
	cfg, counted := traced(t)
	s := open(t, cfg)
	wins(t, s, newClaim("warm"))
	counted.take()
	const callers, each = 64, 10
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			for i := range each {
				c := newClaim(fmt.Sprint(n, "/", i))
				if rec, err := s.Claim(context.Background(), c); err != nil || !rec.Won(c) {
					t.Errorf("claim: %v, error %v", rec.State, err)
				}
			}
		})
	}
	all.Wait()
	if got := counted.take(); got > callers*each/4 {
		t.Errorf("%d claims of %d callers took %d round trips", callers*each, callers, got)
	}
}

// A replay costs the server no writing: neither a log record nor a sequence number.
func TestReplayWritesNothing(t *testing.T) {
	t.Parallel()
	server := servers.Postgres(t, "shared_preload_libraries = pg_stat_statements", "autovacuum = off")
	cfg := migrated(t, oncepg.Config{DSN: server.DSN, Sweep: -1})
	s, ctx := open(t, cfg), t.Context()
	b := newBusiness(t, server.DSN)
	ok(t, b.exec("CREATE EXTENSION pg_stat_statements"))
	written := func() (bytes int) {
		ok(t, b.pool.QueryRow(ctx, "SELECT coalesce(sum(wal_bytes), 0)::integer FROM pg_stat_statements "+
			"WHERE query LIKE '%records%' AND query NOT LIKE '%pg_stat%'").Scan(&bytes))
		return bytes
	}
	done, held := newClaim("done"), newClaim("held")
	wins(t, s, done)
	wins(t, s, held)
	ok(t, s.Complete(ctx, done.Key, done.Owner, outcome("x"), long))
	before := written()
	if before == 0 {
		t.Fatal("the server does not tell what is written")
	}
	for range 100 { // a sequence is logged every 32 numbers
		for _, id := range []string{"done", "held"} {
			c := newClaim(id)
			if rec, err := s.Claim(ctx, c); err != nil || rec.Won(c) {
				t.Fatalf("replay: %v, error %v", rec.State, err)
			}
			_, err := s.Load(ctx, c.Key)
			ok(t, err)
		}
	}
	if after := written(); after != before {
		t.Errorf("200 replays made the server write %d bytes of log", after-before)
	}
}
