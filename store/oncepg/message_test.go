package oncepg_test

import (
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/messages"
)

func TestMessagesInTransactions(t *testing.T) {
	t.Parallel()
	messages.TestHandled(t, func(t *testing.T) (once.Store, messages.Ledger) {
		cfg := migrated(t, config(t))
		b := newBusiness(t, cfg.DSN)
		return openTransactional(t, cfg), messages.Ledger{Add: b.add, Count: b.count}
	})
}
