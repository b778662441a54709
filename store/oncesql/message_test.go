package oncesql_test

import (
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/messages"
)

func TestMessagesInTransactions(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			messages.TestHandled(t, func(t *testing.T) (once.Store, messages.Ledger) {
				cfg := patient(e.config(t))
				b := newBusiness(t, migrated(t, cfg))
				return openTransactional(t, cfg), messages.Ledger{Add: b.add, Count: b.count}
			})
		})
	}
}
