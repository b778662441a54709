package oncesql_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncesql"
)

// A perKey keeps each operation in a SQLite file of its own, in which one transaction can be open
// at a time. So the kit, whose callers claim many operations at once, can test what one file does
// with one operation.
type perKey struct {
	t   testing.TB
	dir string

	mu    sync.Mutex
	files map[once.Key]*oncesql.Transactional
}

func newPerKey(t testing.TB, dir string) *perKey {
	s := &perKey{t: t, dir: dir, files: make(map[once.Key]*oncesql.Transactional)}
	t.Cleanup(func() { s.Close() })
	return s
}

// of returns the store of the operation.
func (s *perKey) of(k once.Key) *oncesql.Transactional {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[k] == nil {
		digest := k.Digest()
		s.files[k] = s.open(filepath.Join(s.dir, fmt.Sprintf("%x.db", digest)))
	}
	return s.files[k]
}

func (s *perKey) open(path string) *oncesql.Transactional {
	cfg := oncesql.Config{DSN: "sqlite:" + path, Sweep: -1, Timeout: 5 * time.Second, LockWait: time.Second}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		ok(s.t, oncesql.Migrate(context.Background(), cfg))
	}
	store, err := oncesql.OpenTransactional(context.Background(), cfg)
	ok(s.t, err)
	return store
}

func (s *perKey) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	return s.of(c.Key).Claim(ctx, c)
}

func (s *perKey) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	return s.of(k).Renew(ctx, k, o, lease)
}

func (s *perKey) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	return s.of(k).Complete(ctx, k, o, out, retention)
}

func (s *perKey) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return s.of(k).Release(ctx, k, o)
}

func (s *perKey) Load(ctx context.Context, k once.Key) (once.Record, error) {
	return s.of(k).Load(ctx, k)
}

func (s *perKey) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	return s.of(k).Forget(ctx, k, o)
}

func (s *perKey) Bind(ctx context.Context, rec once.Record) context.Context {
	return s.of(rec.Key).Bind(ctx, rec)
}

// all returns the stores of the files that were used.
func (s *perKey) all() []*oncesql.Transactional {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stores []*oncesql.Transactional
	for _, store := range s.files {
		stores = append(stores, store)
	}
	return stores
}

func (s *perKey) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		for _, store := range s.all() {
			for rec, err := range store.List(ctx, f) {
				if !yield(rec, err) {
					return
				}
			}
		}
	}
}

// Sweep sweeps all at once: each waits for the operation that runs there.
func (s *perKey) Sweep(ctx context.Context) (int, error) {
	var all sync.WaitGroup
	var swept atomic.Int64
	stores := s.all()
	errs := make([]error, len(stores))
	for i, store := range stores {
		all.Go(func() {
			n, err := store.Sweep(ctx)
			swept.Add(int64(n))
			errs[i] = err
		})
	}
	all.Wait()
	return int(swept.Load()), errors.Join(errs...)
}

func (s *perKey) Close() error {
	var errs []error
	for _, store := range s.all() {
		errs = append(errs, store.Close())
	}
	return errors.Join(errs...)
}

func TestTransactionalContractOfSQLite(t *testing.T) {
	if raced {
		t.Skip("hundreds of files take too long under the race detector")
	}
	t.Parallel()
	oncetest.TestStore(t, oncetest.Options{
		Transactional: true,
		Open:          func(t *testing.T) once.Store { return newPerKey(t, t.TempDir()) },
		Reopen: func(t *testing.T, s once.Store) once.Store {
			ok(t, s.(*perKey).Close())
			return newPerKey(t, s.(*perKey).dir)
		},
	})
}
