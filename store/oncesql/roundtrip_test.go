package oncesql_test

import (
	"fmt"
	"testing"

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

	claims := make([]once.Claim, 500)
	for n := range claims {
		claims[n] = newClaim(fmt.Sprint("batch", n))
	}
	for _, what := range []string{"a batch of 100 claims", "its replay"} {
		expect(what, 1, func() {
			for _, r := range s.ClaimBatch(ctx, claims[:100]) {
				ok(t, r.Err)
			}
		})
	}
	mixed := 1
	if sharedServer(t).MySQL {
		mixed = 2 // an insertion that meets a row inserts none
	}
	expect("a batch of old and new claims", mixed, func() {
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

// A replay makes the server write nothing. (It takes the lock of a row, for the time of the
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
	updates, log := written()
	const replays = 200
	for n := range replays {
		c := newClaim([]string{"done", "held"}[n%2])
		if rec, err := s.Claim(t.Context(), c); err != nil || rec.Won(c) {
			t.Fatalf("replay: %v, error %v", rec.State, err)
		}
	}
	updatesAfter, logAfter := written()
	if updates == 0 || updatesAfter != updates {
		t.Errorf("replays updated %d rows, and the completion %d", updatesAfter-updates, updates)
	}
	// The server may have something to tidy up meanwhile. A row that is written takes more than this.
	if grown := logAfter - log; grown > 50*replays {
		t.Errorf("%d replays made the log grow by %d bytes", replays, grown)
	}
}
