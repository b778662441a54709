package oncetest_test

import (
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncetest"
)

func TestMemory(t *testing.T) {
	oncetest.TestStore(t, oncetest.Options{
		Open:   func(*testing.T) once.Store { return new(oncemem.Store) },
		Bubble: true,
	})
}
