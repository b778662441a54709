package oncesql_test

import (
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/oncesql"
)

func TestContract(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, cfg oncesql.Config) {
		migrated(t, cfg)
		oncetest.TestStore(t, oncetest.Options{
			Open:   func(t *testing.T) once.Store { return open(t, cfg) },
			Second: func(t *testing.T, _ once.Store) once.Store { return open(t, cfg) },
			Reopen: func(t *testing.T, s once.Store) once.Store {
				ok(t, s.(*oncesql.Store).Close())
				return open(t, cfg)
			},
		})
	})
}
