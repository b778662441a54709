package oncemem_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func TestContract(t *testing.T) {
	oncetest.TestStore(t, oncetest.Options{
		Open:   func(*testing.T) once.Store { return new(oncemem.Store) },
		Bubble: true,
	})
}

func TestContractOutsideOfBubbles(t *testing.T) {
	t.Parallel()
	var shared oncemem.Store
	oncetest.TestStore(t, oncetest.Options{
		Open:   func(*testing.T) once.Store { return &shared },
		Second: func(*testing.T, once.Store) once.Store { return &shared },
		Lease:  100 * time.Millisecond,
	})
}
