package oncepg_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncepg"
)

func TestContract(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	oncetest.TestStore(t, oncetest.Options{
		Open:   func(t *testing.T) once.Store { return open(t, cfg) },
		Second: func(t *testing.T, _ once.Store) once.Store { return open(t, cfg) },
		Reopen: func(t *testing.T, s once.Store) once.Store {
			ok(t, s.(*oncepg.Store).Close())
			return open(t, cfg)
		},
	})
}

// Two handles are tested in TestTransactionalHandles: what one has claimed only that one can
// complete, which the kit does not know.
func TestTransactionalContract(t *testing.T) {
	t.Parallel()
	cfg := migrated(t, config(t))
	cfg.LockWait = 100 * time.Millisecond
	oncetest.TestStore(t, oncetest.Options{
		Transactional: true,
		Open:          func(t *testing.T) once.Store { return openTransactional(t, cfg) },
		Reopen: func(t *testing.T, s once.Store) once.Store {
			ok(t, s.(*oncepg.Transactional).Close())
			return openTransactional(t, cfg)
		},
	})
}
