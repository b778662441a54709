package oncesql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

// business is a table that operations write to, each a row with its name.
type business struct{ db *sql.DB }

func newBusiness(t testing.TB, cfg oncesql.Config) business {
	t.Helper()
	driver, dsn := "sqlite", "file:"+strings.NewReplacer("?", "%3f", "#", "%23", "%", "%25").Replace(strings.TrimPrefix(cfg.DSN, "sqlite:"))
	if rest, found := strings.CutPrefix(cfg.DSN, "mysql://root@"); found {
		host, name, _ := strings.Cut(rest, "/")
		driver, dsn = "mysql", "root@tcp("+host+")/"+name
	}
	db, err := sql.Open(driver, dsn)
	ok(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec("CREATE TABLE business (name VARCHAR(100) NOT NULL, n INTEGER NOT NULL DEFAULT 0)")
	ok(t, err)
	return business{db}
}

// add writes a row in the operation's transaction.
func (b business) add(ctx context.Context, name string) error {
	tx, ok := oncesql.Tx(ctx)
	if !ok {
		return errors.New("no transaction in the context")
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO business (name) VALUES (?)", name)
	return err
}

// count returns how many rows there are of that name, as others see them.
func (b business) count(t testing.TB, name string) (n int) {
	t.Helper()
	ok(t, b.db.QueryRow("SELECT COUNT(*) FROM business WHERE name = ?", name).Scan(&n))
	return n
}

func guardOver(t testing.TB, s once.Store) *once.Guard {
	t.Helper()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Wait: time.Minute})
	ok(t, err)
	return g
}

func key(id string) once.Key { return once.Key{Scope: "test", ID: id} }

// onEachTransactional runs the test with a configuration of a database with tables.
func onEachTransactional(t *testing.T, test func(*testing.T, oncesql.Config)) {
	onEach(t, func(t *testing.T, cfg oncesql.Config) { test(t, migrated(t, patient(cfg))) })
}

// patient returns a configuration in which claims wait long enough for each other.
func patient(cfg oncesql.Config) oncesql.Config {
	cfg.LockWait, cfg.MaxConns = 30*time.Second, 80
	return cfg
}

func TestTransactionalHandles(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		stores := []*oncesql.Transactional{openTransactional(t, cfg), openTransactional(t, cfg)}
		last := uint64(0)
		for round := range 15 {
			// Many claim; who wins completes or releases, so that the next one may win.
			k := key("contended")
			var mu sync.Mutex
			var all sync.WaitGroup
			for n := range 6 {
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
						err = s.Release(context.Background(), k, c.Owner)
					} else {
						err = s.Complete(context.Background(), k, c.Owner, outcome("done"), time.Microsecond)
					}
					if err != nil {
						t.Errorf("end of the claim: %v", err)
					}
				})
			}
			all.Wait()
			if t.Failed() {
				t.Fatalf("in round %d", round)
			}
		}
	})
}

func TestEffectAndOutcomeAreCommittedTogether(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		g := guardOver(t, openTransactional(t, cfg))
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
	})
}

func TestWithoutAnOutcomeThereIsNoEffect(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		s := openTransactional(t, cfg)
		g := guardOver(t, s)
		failure := errors.New("something failed")
		for name, end := range map[string]func() error{
			"an unclassified error": func() error { return failure },
			"no effect":             func() error { return once.NoEffect(failure) },
			"a panic":               func() error { panic(failure) },
		} {
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
	})
}

func TestManyCallersOneEffect(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		guards := []*once.Guard{guardOver(t, openTransactional(t, cfg)), guardOver(t, openTransactional(t, cfg))}
		var all sync.WaitGroup
		for n := range 32 {
			all.Go(func() {
				_, err := once.Do(context.Background(), guards[n%2], key("a"), once.Fingerprint{},
					func(ctx context.Context) (int, error) { return n, b.add(ctx, "a") })
				if err != nil {
					t.Errorf("caller %d: %v", n, err)
				}
			})
		}
		all.Wait()
		if n := b.count(t, "a"); n != 1 {
			t.Errorf("there are %d rows, want 1", n)
		}
	})
}

func TestDuplicateIsRefusedAfterLockWait(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		cfg.LockWait = time.Second
		s := openTransactional(t, cfg)
		c := newClaim("a")
		wins(t, s, c)
		started := time.Now()
		if _, err := s.Claim(t.Context(), newClaim("a")); !errors.Is(err, once.ErrInFlight) {
			t.Fatalf("got %v, want ErrInFlight", err)
		}
		if took := time.Since(started); took < cfg.LockWait/2 {
			t.Errorf("refused after %v, want it to wait for %v", took, cfg.LockWait)
		}
		ok(t, s.Release(t.Context(), c.Key, c.Owner))
		wins(t, s, newClaim("a"))
	})
}

func TestTransactionEndsWithTheOperation(t *testing.T) {
	t.Parallel()
	onEachTransactional(t, func(t *testing.T, cfg oncesql.Config) {
		b := newBusiness(t, cfg)
		s := openTransactional(t, cfg)
		c := newClaim("a")
		ctx := s.Bind(t.Context(), wins(t, s, c))
		tx, _ := oncesql.Tx(ctx)
		ok(t, b.add(ctx, "a"))
		ok(t, s.Complete(ctx, c.Key, c.Owner, outcome("done"), long))
		if err := b.add(ctx, "late"); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("a statement after the end: got %v, want sql.ErrTxDone", err)
		}
		if _, err := tx.QueryContext(ctx, "SELECT 1"); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("a query after the end: got %v, want sql.ErrTxDone", err)
		}
		if err := tx.QueryRowContext(ctx, "SELECT 1").Err(); err == nil {
			t.Error("a row after the end: got no error")
		}
		if n := b.count(t, "late"); n != 0 {
			t.Errorf("there are %d rows from after the end", n)
		}
	})
}

func TestDeadlockedOperationsRunAgain(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbConfig(t))
	cfg.LockWait = 30 * time.Second
	b := newBusiness(t, cfg)
	g := guardOver(t, openTransactional(t, cfg))
	for _, row := range []string{"x", "y"} {
		_, err := b.db.Exec("INSERT INTO business (name) VALUES (?)", row)
		ok(t, err)
	}
	_, err := b.db.Exec("CREATE UNIQUE INDEX names ON business (name)")
	ok(t, err)
	increment := func(ctx context.Context, row string) error {
		tx, _ := oncesql.Tx(ctx)
		_, err := tx.ExecContext(ctx, "UPDATE business SET n = n + 1 WHERE name = ?", row)
		return err
	}
	// Half of them lock x before y, and half y before x.
	const callers = 8
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
					time.Sleep(5 * time.Millisecond) // so that they meet
					return 0, increment(ctx, rows[1])
				})
				if errors.Is(err, once.ErrRolledBack) {
					continue
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
	}
	all.Wait()
	for _, row := range []string{"x", "y"} {
		var n int
		ok(t, b.db.QueryRow("SELECT n FROM business WHERE name = ?", row).Scan(&n))
		if n != callers {
			t.Errorf("row %s was incremented %d times, want %d", row, n, callers)
		}
	}
}

// A deadlock undoes the whole transaction. What an operation does after it, having ignored the
// error, must not be committed.
func TestNothingIsCommittedAfterADeadlock(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbConfig(t))
	cfg.LockWait = 30 * time.Second
	b := newBusiness(t, cfg)
	s := openTransactional(t, cfg)
	for _, row := range []string{"x", "y"} {
		_, err := b.db.Exec("INSERT INTO business (name) VALUES (?)", row)
		ok(t, err)
	}
	_, err := b.db.Exec("CREATE UNIQUE INDEX names ON business (name)")
	ok(t, err)
	update := "UPDATE business SET n = n + 1 WHERE name = ?"

	c := newClaim("a")
	ctx := s.Bind(t.Context(), wins(t, s, c))
	tx, _ := oncesql.Tx(ctx)
	stmt, err := tx.PrepareContext(ctx, update) // its errors go unseen
	ok(t, err)
	other, err := b.db.Begin()
	ok(t, err)
	defer other.Rollback()
	// The other transaction is the heavier one, so that the server undoes ours.
	for n := range 50 {
		_, err := other.Exec("INSERT INTO business (name) VALUES (?)", fmt.Sprint("heavy", n))
		ok(t, err)
	}
	_, err = other.Exec(update, "y")
	ok(t, err)
	_, err = stmt.ExecContext(ctx, "x")
	ok(t, err)
	met := make(chan error, 1)
	go func() { _, err := other.Exec(update, "x"); met <- err }()
	_, err = stmt.ExecContext(ctx, "y")
	if err == nil {
		t.Fatal("there was no deadlock")
	}
	ok(t, <-met)
	if _, err := stmt.ExecContext(ctx, "z"); err != nil {
		t.Logf("a statement after the deadlock: %v", err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO business (name) VALUES ('after')")
	if err != nil {
		t.Logf("a statement after the deadlock: %v", err)
	}
	if err := s.Complete(ctx, c.Key, c.Owner, outcome("done"), long); !errors.Is(err, once.ErrRolledBack) {
		t.Errorf("complete after a deadlock: got %v, want ErrRolledBack", err)
	}
	if n := b.count(t, "after"); n != 0 {
		t.Errorf("there are %d rows from after the deadlock, want none", n)
	}
	wins(t, s, newClaim("a"))
}
