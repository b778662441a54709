package oncepg_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// business is a table that operations write to, each a row with its name.
type business struct {
	pool  *pgxpool.Pool
	table string
}

func newBusiness(t testing.TB, dsn string) business {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	ok(t, err)
	t.Cleanup(pool.Close)
	b := business{pool, "business_" + once.NewOwner().String()}
	_, err = pool.Exec(t.Context(), "CREATE TABLE "+b.table+" (name text NOT NULL, n integer NOT NULL DEFAULT 0)")
	ok(t, err)
	return b
}

// add writes a row in the operation's transaction.
func (b business) add(ctx context.Context, name string) error {
	tx, ok := oncepg.Tx(ctx)
	if !ok {
		return errors.New("no transaction in the context")
	}
	_, err := tx.Exec(ctx, "INSERT INTO "+b.table+" (name) VALUES ($1)", name)
	return err
}

// count returns how many rows there are of that name, as others see them.
func (b business) count(t testing.TB, name string) int {
	t.Helper()
	var n int
	eventually(t, "the rows are counted", func() bool { // though a connection may have to be made again
		return b.pool.QueryRow(context.Background(), "SELECT count(*) FROM "+b.table+" WHERE name = $1", name).Scan(&n) == nil
	})
	return n
}

func guardOver(t testing.TB, s once.Store) *once.Guard {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Wait: 30 * time.Second})
	ok(t, err)
	return g
}

func key(id string) once.Key { return once.Key{Scope: "test", ID: id} }

func TestTransactionalHandles(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	cfg.LockWait = 10 * time.Second
	stores := []*oncepg.Transactional{openTransactional(t, cfg), openTransactional(t, cfg), openTransactional(t, cfg)}
	last := uint64(0)
	for round := range 12 {
		// Many claim; who wins completes or releases, so that the next one may win.
		k, done := key("contended"), 0
		var mu sync.Mutex
		var all sync.WaitGroup
		for n := range 9 {
			s := stores[n%len(stores)]
			all.Go(func() {
				c := newClaim(k.ID)
				rec, err := s.Claim(context.Background(), c)
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if !rec.Won(c) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if rec.Fence <= last {
					t.Errorf("fence is %d after %d", rec.Fence, last)
				}
				last = rec.Fence
				if n%2 == 0 {
					if err := s.Release(context.Background(), k, c.Owner); err != nil {
						t.Errorf("release: %v", err)
					}
					return
				}
				done++
				if err := s.Complete(context.Background(), k, c.Owner, outcome("done"), time.Microsecond); err != nil {
					t.Errorf("complete: %v", err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

func TestEffectAndOutcomeAreCommittedTogether(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	g, b := guardOver(t, openTransactional(t, cfg)), newBusiness(t, cfg.DSN)
	for range 3 {
		got, err := once.Do(t.Context(), g, key("a"), once.Fingerprint{}, func(ctx context.Context) (string, error) {
			if err := b.add(ctx, "a"); err != nil {
				return "", err
			}
			if n := b.count(t, "a"); n != 0 {
				return "", fmt.Errorf("others see %d rows of an operation that runs", n)
			}
			return "receipt", nil
		})
		if err != nil || got != "receipt" {
			t.Fatalf("got %q, error %v", got, err)
		}
		if n := b.count(t, "a"); n != 1 {
			t.Fatalf("there are %d rows, want 1", n)
		}
	}
}

func TestWithoutAnOutcomeThereIsNoEffect(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	s := openTransactional(t, cfg)
	g, b := guardOver(t, s), newBusiness(t, cfg.DSN)
	failure := errors.New("something failed")
	ends := map[string]func() error{
		"an unclassified error": func() error { return failure },
		"no effect":             func() error { return once.NoEffect(failure) },
		"a panic":               func() error { panic(failure) },
	}
	for name, end := range ends {
		func() {
			defer func() { recover() }()
			once.Do(t.Context(), g, key(name), once.Fingerprint{}, func(ctx context.Context) (string, error) {
				ok(t, b.add(ctx, name))
				return "", end()
			})
		}()
		if n := b.count(t, name); n != 0 {
			t.Errorf("after %s there are %d rows, want none", name, n)
		}
		if _, err := s.Load(t.Context(), key(name)); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("after %s: load returned %v, want ErrNotFound", name, err)
		}
	}
	// A final failure is an outcome.
	_, err := once.Do(t.Context(), g, key("final"), once.Fingerprint{}, func(ctx context.Context) (string, error) {
		ok(t, b.add(ctx, "final"))
		return "", once.Final(failure)
	})
	if n := b.count(t, "final"); n != 1 || err == nil || err.Error() != failure.Error() {
		t.Errorf("after a final failure there are %d rows and the error %v, want 1 and %v", n, err, failure)
	}
}

func TestManyCallersOneEffect(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	b := newBusiness(t, cfg.DSN)
	guards := []*once.Guard{guardOver(t, openTransactional(t, cfg)), guardOver(t, openTransactional(t, cfg))}
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			_, err := once.Do(context.Background(), guards[n%2], key("a"), once.Fingerprint{}, func(ctx context.Context) (int, error) {
				return n, b.add(ctx, "a")
			})
			if err != nil {
				t.Errorf("caller %d: %v", n, err)
			}
		})
	}
	all.Wait()
	if n := b.count(t, "a"); n != 1 {
		t.Errorf("there are %d rows, want 1", n)
	}
}

func TestDuplicateIsRefusedAfterLockWait(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	cfg.LockWait = 50 * time.Millisecond
	s, other := openTransactional(t, cfg), openTransactional(t, cfg)
	c := newClaim("a")
	wins(t, s, c)
	started := time.Now()
	if _, err := other.Claim(t.Context(), newClaim("a")); !errors.Is(err, once.ErrInFlight) {
		t.Fatalf("got %v, want ErrInFlight", err)
	}
	if took := time.Since(started); took < cfg.LockWait {
		t.Errorf("refused after %v, want it to wait for %v", took, cfg.LockWait)
	}
	ok(t, s.Release(t.Context(), c.Key, c.Owner))
	wins(t, other, newClaim("a"))
}

func TestLockTimeoutIsTheClaimsAlone(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	cfg.LockWait = 50 * time.Millisecond
	s := openTransactional(t, cfg)
	c := newClaim("a")
	ctx := s.Bind(t.Context(), wins(t, s, c))
	tx, _ := oncepg.Tx(ctx)
	var timeout string
	ok(t, tx.QueryRow(ctx, "SHOW lock_timeout").Scan(&timeout))
	if timeout != "0" {
		t.Errorf("the operation's lock_timeout is %q, want what it was: 0", timeout)
	}
	ok(t, s.Release(ctx, c.Key, c.Owner))
}

func TestYieldingTransactionsRunAgain(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		cfg := migrated(t, config(t))
		cfg.Isolation = level
		g, b := guardOver(t, openTransactional(t, cfg)), newBusiness(t, cfg.DSN)
		for _, row := range []string{"x", "y"} {
			_, err := b.pool.Exec(t.Context(), "INSERT INTO "+b.table+" (name) VALUES ($1)", row)
			ok(t, err)
		}
		increment := func(ctx context.Context, row string) error {
			tx, _ := oncepg.Tx(ctx)
			var n int
			return tx.QueryRow(ctx, "UPDATE "+b.table+" SET n = n + 1 WHERE name = $1 RETURNING n", row).Scan(&n)
		}
		// Half of them lock x before y, and half y before x: so they deadlock, or conflict.
		const callers = 4
		var all sync.WaitGroup
		for n := range callers {
			rows := [2]string{"x", "y"}
			if n%2 == 1 {
				rows = [2]string{"y", "x"}
			}
			all.Go(func() {
				for { // Do itself runs it again for a while
					_, err := once.Do(context.Background(), g, key(fmt.Sprint(n)), once.Fingerprint{}, func(ctx context.Context) (int, error) {
						if err := increment(ctx, rows[0]); err != nil {
							return 0, err
						}
						return 0, increment(ctx, rows[1])
					})
					if errors.Is(err, once.ErrRolledBack) {
						continue
					}
					if err != nil {
						t.Errorf("%s: %v", level, err)
					}
					return
				}
			})
		}
		all.Wait()
		for _, row := range []string{"x", "y"} {
			var n int
			ok(t, b.pool.QueryRow(t.Context(), "SELECT n FROM "+b.table+" WHERE name = $1", row).Scan(&n))
			if n != callers {
				t.Errorf("%s: row %s was incremented %d times, want %d", level, row, n, callers)
			}
		}
	}
}
