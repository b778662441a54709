package oncepg_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncepg"
)

// An operator, or a script of his, ends the wait of a commit for a standby that is down. The server
// then answers that all went well, with a warning that says otherwise.
func TestNothingCountsWhoseWaitForTheStandbyWasEnded(t *testing.T) {
	t.Parallel()
	primary := servers.Postgres(t, "synchronous_standby_names = *")
	standby := primary.Standby(t, "synchronous_standby_names =")
	cfg := oncepg.Config{DSN: primary.DSN, Sweep: -1, Timeout: time.Minute}
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	admin, err := pgxpool.New(t.Context(), primary.DSN)
	ok(t, err)
	t.Cleanup(admin.Close)
	s, transactional, ids := open(t, cfg), openTransactional(t, cfg), openIDs(t, cfg, day)
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold, Lease: time.Minute})
	ok(t, err)
	pc, err := pgxpool.ParseConfig(primary.DSN)
	ok(t, err)
	oncepg.WatchCommits(pc.ConnConfig)
	pool, err := pgxpool.NewWithConfig(t.Context(), pc)
	ok(t, err)
	t.Cleanup(pool.Close)
	pooled := open(t, oncepg.Config{Pool: pool, Sweep: -1, Timeout: time.Minute})
	quiet := cfg
	quiet.DSN += "&client_min_messages=error"
	silent := open(t, quiet)

	for _, end := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		finished, inTx, inOwn := newClaim("finished "+end), newClaim("in tx "+end), key("in own "+end)
		wins(t, s, finished)
		wins(t, transactional, inTx)
		own, err := g.Begin(t.Context(), inOwn, once.Fingerprint{})
		ok(t, err)
		tx, err := admin.Begin(t.Context())
		ok(t, err)
		claim := func(s *oncepg.Store, of string) func() error {
			c := newClaim(of + " " + end)
			return func() error { return second(s.Claim(t.Context(), c)) }
		}
		verbs := map[string]func() error{
			"claim":                       claim(s, "plain"),
			"claim, pool of the caller's": claim(pooled, "pooled"),
			"claim, warnings turned off":  claim(silent, "silent"),
			"complete": func() error {
				return s.Complete(t.Context(), finished.Key, finished.Owner, outcome("o"), long)
			},
			"complete in transactional mode": func() error {
				return transactional.Complete(t.Context(), inTx.Key, inTx.Owner, outcome("o"), long)
			},
			"complete ids": func() error {
				return ids.CompleteIDs(t.Context(), "s", once.NewOwner(), []string{"done " + end})
			},
		}
		standby.Pause()
		ended := func(name string, verb func() error) {
			got := make(chan error, 1)
			go func() { got <- verb() }()
			for {
				select {
				case err := <-got:
					if err == nil {
						t.Errorf("%s: %s is acknowledged while no standby has it", end, name)
					}
					return
				case <-time.After(5 * time.Millisecond):
					_, err := admin.Exec(t.Context(), "SELECT "+end+"(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
					ok(t, err)
				}
			}
		}
		for name, verb := range verbs {
			ended(name, verb)
		}
		ended("commit of the caller's own", func() error { return s.Commit(t.Context(), tx, own, outcome("o"), long) })
		standby.Resume()
		for name, verb := range verbs {
			eventually(t, end+": "+name+" is acknowledged again", func() bool { return verb() == nil })
		}
	}
}

// Ids that are done are also no more than seen, until a standby has them.
func TestIDsDoNotCountThatTheStandbyHasNot(t *testing.T) {
	t.Parallel()
	primary := servers.Postgres(t, "synchronous_standby_names = *")
	standby := primary.Standby(t, "synchronous_standby_names =")
	cfg := oncepg.Config{DSN: primary.DSN, Sweep: -1, Timeout: time.Second}
	day := oncepg.IDsConfig{Window: 24 * time.Hour}
	migratedIDs(t, cfg, day)
	ids, o := openIDs(t, cfg, day), once.NewOwner()
	standby.Pause()
	complete := func() error { return ids.CompleteIDs(t.Context(), "s", o, []string{"a"}) }
	claim := func() ([]once.IDState, error) { return ids.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a"}) }
	complete()
	admin, err := pgx.Connect(t.Context(), primary.DSN)
	ok(t, err)
	defer admin.Close(context.Background())
	eventually(t, "the id is there to be seen", func() bool {
		var n int
		const sql = "SELECT count(*) FROM pg_stat_user_tables WHERE relname LIKE 'ids!__' ESCAPE '!' AND n_tup_ins > 0"
		return admin.QueryRow(t.Context(), sql).Scan(&n) == nil && n > 0
	})
	for range 2 {
		if states, err := claim(); err == nil {
			t.Errorf("a claim is answered %v while no standby has it", states)
		}
		if err := complete(); err == nil {
			t.Error("a repeated completion is acknowledged while no standby has it")
		}
	}
	standby.Resume()
	eventually(t, "the completion is acknowledged again", func() bool { return complete() == nil })
	standby.Promote(t)
	after := openIDs(t, oncepg.Config{DSN: standby.DSN, Sweep: -1}, day)
	states, err := after.ClaimIDs(t.Context(), "s", once.NewOwner(), []string{"a"})
	if err != nil || states[0] != once.IDDone {
		t.Errorf("after the failover the id is %v, %v", states, err)
	}
}

// A store cannot hear warnings on connections of a pool that does not pass them on, and says so.
func TestPoolThatIsNotWatchedIsNoted(t *testing.T) {
	t.Parallel()
	primary := servers.Postgres(t, "synchronous_standby_names = *")
	primary.Standby(t, "synchronous_standby_names =")
	migrated(t, oncepg.Config{DSN: primary.DSN})
	for _, watched := range []bool{false, true} {
		pc, err := pgxpool.ParseConfig(primary.DSN)
		ok(t, err)
		if watched {
			oncepg.WatchCommits(pc.ConnConfig)
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), pc)
		ok(t, err)
		t.Cleanup(pool.Close)
		noted := anyContains(open(t, oncepg.Config{Pool: pool, Sweep: -1}).Guarantees().Notes, "WatchCommits")
		if noted == watched {
			t.Errorf("watched is %v, and noted is %v", watched, noted)
		}
	}
	if anyContains(open(t, oncepg.Config{DSN: primary.DSN, Sweep: -1}).Guarantees().Notes, "WatchCommits") {
		t.Error("the store's own pool is said not to be watched")
	}
}

func anyContains(texts []string, word string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, word) })
}
