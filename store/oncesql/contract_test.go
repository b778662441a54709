package oncesql_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/skew"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncesql"
)

func TestContract(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		migrated(t, cfg)
		o := oncetest.Options{
			Open:   func(t *testing.T) once.Store { return open(t, cfg) },
			Second: func(t *testing.T, _ once.Store) once.Store { return open(t, cfg) },
			Reopen: func(t *testing.T, s once.Store) once.Store {
				ok(t, s.(*oncesql.Store).Close())
				return open(t, cfg)
			},
		}
		if strings.HasPrefix(cfg.DSN, "mysql:") {
			o.SkewedHandle = func(t *testing.T, _ once.Store, by time.Duration) once.Store {
				return skew.Open(t, by, func(ctx context.Context) (once.Store, error) { return oncesql.Open(ctx, cfg) })
			}
		}
		if raced {
			o.Histories, o.Steps = 1, 200
		}
		oncetest.TestStore(t, o)
	})
}

// Two handles are tested in TestTransactionalHandles: what one has claimed only that one can
// complete, which the kit does not know. Nor does it know a database in which only one operation
// runs at a time; so SQLite is left to the other tests.
func TestTransactionalContract(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, mariadbConfig(t))
	cfg.LockWait, cfg.MaxConns = time.Second, 80
	oncetest.TestStore(t, oncetest.Options{
		Transactional: true,
		Open:          func(t *testing.T) once.Store { return openTransactional(t, cfg) },
		Reopen: func(t *testing.T, s once.Store) once.Store {
			ok(t, s.(*oncesql.Transactional).Close())
			return openTransactional(t, cfg)
		},
	})
}

// Nobody should claim the same key twice in a batch; who does is told the truth about both.
func TestBatchWithTheSameKeyTwice(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		s := open(t, migrated(t, cfg))
		claims := []once.Claim{newClaim("a"), newClaim("b"), newClaim("a"), newClaim("a")}
		won := 0
		for n, r := range s.ClaimBatch(t.Context(), claims) {
			ok(t, r.Err)
			if r.Record.Key != claims[n].Key || r.Record.State != once.InFlight {
				t.Errorf("claim %d: the record is %v", n, r.Record)
			}
			if r.Record.Won(claims[n]) {
				won++
			}
		}
		if won != 2 {
			t.Errorf("%d claims of two keys have won", won)
		}
	})
}
