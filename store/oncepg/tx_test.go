package oncepg_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// begun returns a transactional store with a claim, and the context of its operation.
func begun(t testing.TB, change func(*oncepg.Config)) (*oncepg.Transactional, business, once.Claim, context.Context) {
	t.Helper()
	cfg := migrated(t, config(t))
	if change != nil {
		change(&cfg)
	}
	s := openTransactional(t, cfg)
	c := newClaim("a")
	return s, newBusiness(t, shared.server.DSN), c, s.Bind(t.Context(), wins(t, s, c))
}

func TestThereIsNoTransactionOutsideOfAnOperation(t *testing.T) {
	t.Parallel()
	if tx, found := oncepg.Tx(t.Context()); found || tx != nil {
		t.Error("a context of no operation has a transaction")
	}
}

func TestTransactionEndsWithTheOperation(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"complete", "release", "abandon"} {
		s, b, c, ctx := begun(t, nil)
		ok(t, b.add(ctx, "a"))
		tx, _ := oncepg.Tx(ctx)
		point, err := tx.Begin(ctx)
		ok(t, err)
		switch end {
		case "complete":
			err = s.Complete(ctx, c.Key, c.Owner, outcome("x"), long)
		case "release":
			err = s.Release(ctx, c.Key, c.Owner)
		case "abandon":
			err = s.Renew(ctx, c.Key, c.Owner, 0)
		}
		ok(t, err)
		uses := map[string]func() error{
			"exec":      func() error { _, err := tx.Exec(ctx, "SELECT 1"); return err },
			"query":     func() error { rows, err := tx.Query(ctx, "SELECT 1"); rows.Close(); return err },
			"query row": func() error { return tx.QueryRow(ctx, "SELECT 1").Scan(nil) },
			"batch":     func() error { return tx.SendBatch(ctx, &pgx.Batch{}).Close() },
			"copy": func() error {
				_, err := tx.CopyFrom(ctx, pgx.Identifier{b.table}, []string{"name"}, pgx.CopyFromRows(nil))
				return err
			},
			"prepare":      func() error { _, err := tx.Prepare(ctx, "p", "SELECT 1"); return err },
			"begin":        func() error { _, err := tx.Begin(ctx); return err },
			"a savepoint":  func() error { _, err := point.Exec(ctx, "SELECT 1"); return err },
			"its commit":   func() error { return point.Commit(ctx) },
			"its rollback": func() error { return point.Rollback(ctx) },
		}
		for name, use := range uses {
			if err := use(); !errors.Is(err, pgx.ErrTxClosed) {
				t.Errorf("%s after %s: got %v, want pgx.ErrTxClosed", name, end, err)
			}
		}
	}
}

func TestOperationMustNotEndItsTransaction(t *testing.T) {
	t.Parallel()
	s, b, c, ctx := begun(t, nil)
	tx, _ := oncepg.Tx(ctx)
	ok(t, b.add(ctx, "a"))
	if err := tx.Commit(ctx); err == nil {
		t.Error("Commit is not refused")
	}
	if err := tx.Rollback(ctx); err == nil {
		t.Error("Rollback is not refused")
	}
	if n := b.count(t, "a"); n != 0 {
		t.Errorf("there are %d effects before the outcome", n)
	}
	ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("x"), long))
	if n := b.count(t, "a"); n != 1 {
		t.Errorf("there are %d effects, want 1", n)
	}
}

func TestSavepoints(t *testing.T) {
	t.Parallel()
	s, b, c, ctx := begun(t, nil)
	tx, _ := oncepg.Tx(ctx)
	for name, keep := range map[string]bool{"kept": true, "undone": false} {
		err := pgx.BeginFunc(ctx, tx, func(point pgx.Tx) error {
			if _, err := point.Exec(ctx, "INSERT INTO "+b.table+" (name) VALUES ($1)", name); err != nil {
				return err
			}
			if !keep {
				_, err := point.Exec(ctx, "SELECT 1 / 0")
				return err
			}
			return nil
		})
		if (err == nil) != keep {
			t.Fatalf("%s: %v", name, err)
		}
	}
	ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("x"), long))
	if kept, undone := b.count(t, "kept"), b.count(t, "undone"); kept != 1 || undone != 0 {
		t.Errorf("there are %d kept and %d undone effects, want 1 and 0", kept, undone)
	}
}

func TestRowsBatchesAndCopies(t *testing.T) {
	t.Parallel()
	s, b, c, ctx := begun(t, nil)
	tx, _ := oncepg.Tx(ctx)
	n, err := tx.CopyFrom(ctx, pgx.Identifier{b.table}, []string{"name", "n"}, pgx.CopyFromRows([][]any{{"x", 1}, {"y", 2}}))
	if err != nil || n != 2 {
		t.Fatalf("copied %d rows, error %v", n, err)
	}
	rows, err := tx.Query(ctx, "SELECT name FROM "+b.table+" ORDER BY n")
	ok(t, err)
	if _, err := tx.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("a statement while rows are open is not refused")
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || strings.Join(names, "") != "xy" {
		t.Fatalf("got %q, error %v", names, err)
	}
	var batch pgx.Batch
	batch.Queue("UPDATE " + b.table + " SET n = n + 1")
	batch.Queue("SELECT sum(n)::integer FROM " + b.table)
	results := tx.SendBatch(ctx, &batch)
	_, err = results.Exec()
	ok(t, err)
	var sum int
	ok(t, results.QueryRow().Scan(&sum))
	ok(t, results.Close())
	if sum != 5 {
		t.Errorf("got the sum %d, want 5", sum)
	}
	_, err = tx.Query(ctx, "SELECT nothing")
	if err == nil {
		rows, _ := tx.Query(ctx, "SELECT 1")
		rows.Close()
	}
	if err := s.Complete(ctx, c.Key, c.Owner, outcome("x"), long); !once.IsNoEffect(err) {
		t.Errorf("complete of a transaction with a failed statement: got %v, want no effect", err)
	}
	if n := b.count(t, "x"); n != 0 {
		t.Errorf("there are %d effects of a transaction with a failed statement", n)
	}
	wins(t, s, newClaim("a"))
}

func TestOperationThatLeavesItsTransactionInUseIsRolledBack(t *testing.T) {
	t.Parallel()
	s, b, c, ctx := begun(t, nil)
	tx, _ := oncepg.Tx(ctx)
	ok(t, b.add(ctx, "a"))
	rows, err := tx.Query(ctx, "SELECT generate_series(1, 100000)")
	ok(t, err)
	rows.Next()
	if err := s.Complete(ctx, c.Key, c.Owner, outcome("x"), long); !once.IsNoEffect(err) || errors.Is(err, once.ErrRolledBack) {
		t.Fatalf("complete while rows are open: got %v, want no effect, and no reason to run again", err)
	}
	rows.Close()
	eventually(t, "the key is free", func() bool {
		next := newClaim("a")
		rec, err := s.Claim(t.Context(), next)
		return err == nil && rec.Won(next)
	})
	if n := b.count(t, "a"); n != 0 {
		t.Errorf("there are %d effects, want none", n)
	}
}

func TestOperationThatIsIdleForTooLongIsRolledBack(t *testing.T) {
	t.Parallel()
	s, b, c, ctx := begun(t, func(cfg *oncepg.Config) { cfg.Idle = 100 * time.Millisecond })
	ok(t, b.add(ctx, "a"))
	eventually(t, "the server has ended the transaction", func() bool {
		var n int
		ok(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' "+
			"AND query LIKE '%' || $1 || '%'", b.table).Scan(&n))
		return n == 0
	})
	if err := s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long); !errors.Is(err, once.ErrRolledBack) {
		t.Errorf("complete: got %v, want ErrRolledBack", err)
	}
	if n := b.count(t, "a"); n != 0 {
		t.Errorf("there are %d effects, want none", n)
	}
	wins(t, s, newClaim("a"))
}

func TestCancelledOperationIsRolledBack(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	g, b := guardOver(t, openTransactional(t, cfg)), newBusiness(t, cfg.DSN)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := once.Do(ctx, g, key("a"), once.Fingerprint{}, func(ctx context.Context) (int, error) {
		ok(t, b.add(ctx, "a"))
		cancel()
		tx, _ := oncepg.Tx(ctx)
		_, err := tx.Exec(ctx, "SELECT pg_sleep(60)")
		return 0, err
	})
	if err == nil {
		t.Fatal("a cancelled operation has succeeded")
	}
	_, err = once.Do(t.Context(), g, key("a"), once.Fingerprint{}, func(ctx context.Context) (int, error) { return 0, b.add(ctx, "a") })
	ok(t, err)
	if n := b.count(t, "a"); n != 1 {
		t.Errorf("there are %d effects, want 1", n)
	}
}

// A store of the other kind knows nothing of the lock. What both have claimed is not done by both.
func TestOperationThatAStoreHasClaimedMeanwhileIsRolledBack(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead} {
		var cfg oncepg.Config
		s, b, c, ctx := begun(t, func(changed *oncepg.Config) { changed.Isolation, cfg = level, *changed })
		ok(t, b.add(ctx, "a"))
		cfg.Timeout = 100 * time.Millisecond
		other := newClaim("a")
		rec, err := open(t, cfg).Claim(t.Context(), other)
		completed := s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long)
		switch effects := b.count(t, "a"); {
		case err == nil && rec.Won(other) && (!errors.Is(completed, once.ErrRolledBack) || effects != 0):
			t.Errorf("%s: both have claimed; complete: got %v, and %d effects; want ErrRolledBack and none", level, completed, effects)
		case err != nil && (completed != nil || effects != 1):
			t.Errorf("%s: only one has claimed; complete: got %v, and %d effects", level, completed, effects)
		}
	}
}

// What a waiting claim finds in the end is what the one before has committed, whether a transaction
// sees it or not.
func TestClaimThatHasWaitedSeesTheOutcome(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		s, b, c, _ := begun(t, func(cfg *oncepg.Config) { cfg.Isolation, cfg.LockWait = level, time.Minute })
		got := make(chan once.Record, 1)
		go func() {
			rec, err := s.Claim(context.Background(), newClaim("a"))
			if err != nil {
				t.Errorf("%s: %v", level, err)
			}
			got <- rec
		}()
		eventually(t, "the claim waits", func() bool {
			var n int
			ok(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").Scan(&n))
			return n > 0
		})
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, outcome("x"), long))
		if rec := <-got; rec.State != once.Done || !rec.Outcome.Equal(outcome("x")) {
			t.Errorf("%s: the record is %v, want it done", level, rec.State)
		}
	}
}

func TestSmallPoolIsExplained(t *testing.T) {
	t.Parallel()
	s, _, _, ctx := begun(t, func(cfg *oncepg.Config) { cfg.DSN += "&pool_max_conns=1" })
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := s.Claim(ctx, newClaim("b")); err == nil || !strings.Contains(err.Error(), "pool_max_conns") {
		t.Errorf("got %v, want the way out", err)
	}
}

func TestOutcomeInTheCallersOwnTransaction(t *testing.T) {
	t.Parallel()
	p, cfg := proxied(t)
	cfg.Timeout = 500 * time.Millisecond
	s, b := open(t, cfg), newBusiness(t, shared.server.DSN)
	g, err := once.New(once.Config{Store: s, InDoubt: once.Hold})
	ok(t, err)
	for name, lose := range map[string]func(string){"kept": func(string) {}, "cut": p.CutReply, "dropped": p.DropRequest} {
		conn, err := pgx.Connect(t.Context(), cfg.DSN)
		ok(t, err)
		defer conn.Close(context.Background())
		a, err := g.Begin(t.Context(), key(name), once.Fingerprint{})
		ok(t, err)
		tx, err := conn.Begin(t.Context())
		ok(t, err)
		_, err = tx.Exec(t.Context(), "INSERT INTO "+b.table+" (name) VALUES ($1)", name)
		ok(t, err)
		lose("commit\x00") // not synchronous_commit
		err = s.Commit(t.Context(), tx, a, outcome(name), long)
		rec, loading := s.Load(t.Context(), key(name))
		if name == "dropped" {
			if !errors.Is(err, once.ErrRolledBack) || !errors.Is(loading, once.ErrNotFound) || b.count(t, name) != 0 {
				t.Errorf("%s: got %v, the record %v, %d effects; want ErrRolledBack and nothing", name, err, rec.State, b.count(t, name))
			}
			continue
		}
		if err != nil || rec.State != once.Done || b.count(t, name) != 1 {
			t.Errorf("%s: got %v, the record %v, %d effects; want it done with 1", name, err, rec.State, b.count(t, name))
		}
	}

	// Who has lost the operation cannot commit.
	a, err := g.Begin(t.Context(), key("lost"), once.Fingerprint{})
	ok(t, err)
	ok(t, s.Forget(t.Context(), a.Key(), a.Owner()))
	tx, err := b.pool.Begin(t.Context())
	ok(t, err)
	_, err = tx.Exec(t.Context(), fmt.Sprintf("INSERT INTO %s (name) VALUES ('lost')", b.table))
	ok(t, err)
	if err := s.Commit(t.Context(), tx, a, outcome("x"), long); !errors.Is(err, once.ErrLost) || b.count(t, "lost") != 0 {
		t.Errorf("commit after the operation was lost: got %v and %d effects, want ErrLost and none", err, b.count(t, "lost"))
	}
}

func TestSweepRemovesRowsThatHaveBeenOverForAnHour(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s, b, ctx := open(t, cfg), newBusiness(t, cfg.DSN), t.Context()
	const over = 1500 // more than one step
	claims := make([]once.Claim, over)
	for n := range claims {
		claims[n] = newClaim(fmt.Sprint(n))
	}
	for n, r := range s.ClaimBatch(ctx, claims) {
		ok(t, r.Err)
		if n%2 == 0 {
			ok(t, s.Release(ctx, claims[n].Key, claims[n].Owner))
		} else {
			ok(t, s.Complete(ctx, claims[n].Key, claims[n].Owner, outcome("x"), time.Microsecond))
		}
	}
	kept := []once.Claim{newClaim("flying"), newClaim("forever"), newClaim("done")}
	for _, c := range kept {
		wins(t, s, c)
	}
	ok(t, s.Complete(ctx, kept[1].Key, kept[1].Owner, outcome("x"), once.Forever))
	ok(t, s.Complete(ctx, kept[2].Key, kept[2].Owner, outcome("x"), long))
	sweep := func(want int) {
		t.Helper()
		if n, err := s.Sweep(ctx); err != nil || n != want {
			t.Errorf("swept %d rows, error %v, want %d", n, err, want)
		}
	}
	sweep(0)
	ok(t, b.exec("UPDATE "+cfg.Schema+".records SET expires = expires - interval '59 minutes'"))
	sweep(0)
	ok(t, b.exec("UPDATE "+cfg.Schema+".records SET expires = expires - interval '1 minute' WHERE expires < now()"))
	// One of them is being claimed again.
	tx, err := b.pool.Begin(ctx)
	ok(t, err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, "SELECT FROM "+cfg.Schema+".records WHERE id = '7' FOR UPDATE")
	ok(t, err)
	sweep(over - 1)
	for _, c := range kept {
		if rec, err := s.Load(ctx, c.Key); err != nil || rec.Owner != c.Owner {
			t.Errorf("after the sweep the record is %v, error %v", rec.State, err)
		}
	}
}
