package oncesql_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
)

// SQLite has no round trips.
func TestRoundTripsOfMariaDB(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.MaxConns = 1
	s := open(t, cfg)
	expect := func(what string, want int, verb func()) {
		t.Helper()
		before := p.Requests()
		verb()
		if got := p.Requests() - before; got != want {
			t.Errorf("%s takes %d round trips, want %d", what, got, want)
		}
	}
	c, ctx := newClaim("a"), t.Context()
	expect("a fresh claim", 1, func() { wins(t, s, c) })
	expect("a claim in flight", 1, func() { s.Claim(ctx, newClaim("a")) })
	expect("a renewal", 1, func() { ok(t, s.Renew(ctx, c.Key, c.Owner, long)) })
	expect("the end of a lease", 1, func() { ok(t, s.Renew(ctx, c.Key, c.Owner, 0)) })
	c.Owner, c.Takeover = once.NewOwner(), 5
	expect("a takeover", 2, func() { wins(t, s, c) })
	expect("a completion", 1, func() { ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("x"), long)) })
	confirm := 1 // what was only read and is young
	if sharedServer(t).MySQL {
		confirm = 0 // has a binary log
	}
	expect("a replay", 1+confirm, func() { s.Claim(ctx, newClaim("a")) })
	expect("a load", 1+confirm, func() { s.Load(ctx, c.Key) })
	expect("a mismatch", 1, func() {
		other := newClaim("a")
		other.Fingerprint[0] ^= 1
		s.Claim(ctx, other)
	})
	expect("a repeated completion", 2+confirm, func() { ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("x"), long)) })
	age(t, newBusiness(t, cfg))
	expect("a replay later on", 1, func() { s.Claim(ctx, newClaim("a")) })
	expect("a load later on", 1, func() { s.Load(ctx, c.Key) })
	c = newClaim("b")
	wins(t, s, c)
	expect("a release", 1, func() { ok(t, s.Release(ctx, c.Key, c.Owner)) })
	expect("a claim after a release", 2, func() { wins(t, s, newClaim("b")) })

	claims := make([]once.Claim, 500)
	for n := range claims {
		claims[n] = newClaim(fmt.Sprint("batch", n))
	}
	for what, want := range []int{1, 1 + confirm} {
		expect([]string{"a batch of 100 claims", "its repetition"}[what], want, func() {
			for _, r := range s.ClaimBatch(ctx, claims[:100]) {
				ok(t, r.Err)
			}
		})
	}
	mixed := 1
	if sharedServer(t).MySQL {
		mixed = 2 // an insertion that meets a row inserts none
	}
	expect("a batch of old and new claims", mixed+confirm, func() {
		for n, r := range s.ClaimBatch(ctx, claims[50:150]) {
			if r.Err != nil || !r.Record.Won(claims[50+n]) {
				t.Errorf("claim %d: %v, error %v", 50+n, r.Record.State, r.Err)
			}
		}
	})

	for n, r := range s.ClaimBatch(ctx, claims) { // too many for one statement
		if r.Err != nil || !r.Record.Won(claims[n]) || r.Record.Attempt != 1 {
			t.Fatalf("claim %d of 500: %v of attempt %d, error %v", n, r.Record.State, r.Record.Attempt, r.Err)
		}
	}

	// With one connection each operation waits for the one before, behind which the driver sends
	// a ROLLBACK of its own.
	transactional := openTransactional(t, cfg)
	operation := func() {
		c := newClaim(once.NewOwner().String())
		wins(t, transactional, c)
		ok(t, transactional.Complete(ctx, c.Key, c.Owner, outcome("x"), long))
	}
	operation() // makes the connection
	expect("ROLLBACK, BEGIN, INSERT, SELECT, UPDATE, COMMIT", 6, operation)
}

// age makes all that is written older than what is young.
func age(t testing.TB, b business) {
	t.Helper()
	_, err := b.db.Exec("UPDATE once_records SET fence = fence - 120000000, lease_end = lease_end - 120000000 WHERE scope <> ''")
	ok(t, err)
}

// InnoDB shows a commit before it is on disk, unless there is a binary log: what a store has only
// read it acknowledges when a later commit of its own is there.
func TestWhatWasOnlyReadIsOnDisk(t *testing.T) {
	t.Parallel()
	if sharedServer(t).MySQL {
		t.Skip("there is a binary log")
	}
	cfg := migrated(t, mariadbOn(t, servers.MariaDB(t))) // whose log is of this test only
	s, transactional, b := open(t, cfg), openTransactional(t, cfg), newBusiness(t, cfg)
	done, held := newClaim("done"), newClaim("held")
	wins(t, s, done)
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, outcome("x"), long))
	verbs := map[string]func() error{
		"replay": func() error { return second(s.Claim(t.Context(), newClaim("done"))) },
		"replay in transactional mode": func() error {
			return second(transactional.Claim(t.Context(), newClaim("done")))
		},
		"load":     func() error { return second(s.Load(t.Context(), done.Key)) },
		"complete": func() error { return s.Complete(t.Context(), done.Key, done.Owner, outcome("x"), long) },
		"claim":    func() error { return second(s.Claim(t.Context(), held)) },
		"batch":    func() error { return s.ClaimBatch(t.Context(), []once.Claim{held})[0].Err },
	}
	commits := func() (n int) {
		ok(t, b.db.QueryRow("SELECT COALESCE(SUM(fence), 0) FROM once_records WHERE scope = ''").Scan(&n))
		return n
	}
	ok(t, verbs["claim"]())
	for name, verb := range verbs {
		before := commits()
		ok(t, verb())
		if commits() == before {
			t.Errorf("a repeated %s is acknowledged without a commit", name)
		}
	}
	age(t, b)
	before := commits()
	for _, verb := range verbs {
		ok(t, verb())
	}
	if n := commits() - before; n != 0 {
		t.Errorf("what was written long ago takes %d commits", n)
	}
	for rec, err := range s.List(t.Context(), once.Filter{}) {
		if ok(t, err); rec.Key != done.Key && rec.Key != held.Key {
			t.Errorf("a row that is no record is listed: %v", rec.Key)
		}
	}
}

// Those who ask while a commit is under way share the next.
func TestReplaysShareACommit(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	if sharedServer(t).MySQL {
		t.Skip("there is a binary log")
	}
	s, c := open(t, cfg), newClaim("a")
	wins(t, s, c)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long))
	p.Delay(50 * time.Millisecond)
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			if rec, err := s.Claim(t.Context(), newClaim("a")); err != nil || rec.State != once.Done {
				t.Errorf("replay: %v, %v", rec.State, err)
			}
		})
	}
	all.Wait()
	p.Delay(0)
	var commits int
	ok(t, newBusiness(t, cfg).db.QueryRow("SELECT SUM(fence) FROM once_records WHERE scope = ''").Scan(&commits))
	if commits == 0 || commits > 30 {
		t.Errorf("60 replays took %d commits", commits)
	}
}

func second[T any](_ T, err error) error { return err }

// A replay makes the server write nothing once its outcome is not young any more. (It takes the lock of a row, for the time of the
// statement.)
func TestReplayOfMariaDBWritesNothing(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbOn(t, servers.MariaDB(t))) // whose counters are of this test only
	s, b := open(t, cfg), newBusiness(t, cfg)
	done, held := newClaim("done"), newClaim("held")
	wins(t, s, done)
	wins(t, s, held)
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, outcome("x"), long))
	// How many rows were updated, and how long the log has become.
	written := func() (updates, log int) {
		var name string
		ok(t, b.db.QueryRow("SHOW GLOBAL STATUS LIKE 'Handler_update'").Scan(&name, &updates))
		ok(t, b.db.QueryRow("SHOW GLOBAL STATUS WHERE Variable_name IN "+
			"('Innodb_lsn_current', 'Innodb_redo_log_current_lsn')").Scan(&name, &log)) // MariaDB's and MySQL's
		return updates, log
	}
	age(t, b)
	const replays = 200
	eventually(t, "a time in which the server has nothing to tidy up", func() bool {
		updates, log := written()
		for n := range replays {
			c := newClaim([]string{"done", "held"}[n%2])
			if rec, err := s.Claim(t.Context(), c); err != nil || rec.Won(c) {
				t.Fatalf("replay: %v, error %v", rec.State, err)
			}
		}
		updatesAfter, logAfter := written()
		if updates == 0 || updatesAfter != updates {
			t.Fatalf("replays updated %d rows, and the completion %d", updatesAfter-updates, updates)
		}
		grown := logAfter - log
		t.Logf("%d replays made the log grow by %d bytes", replays, grown)
		return grown <= 50*replays // a row that is written takes more than this
	})
}
