package oncepg_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
)

// A COMMIT that the server has not come to yet has not come to nothing.
func TestCommitThatTheServerTakesUpLaterIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead} {
		s, b, c, ctx := begun(t, func(cfg *oncepg.Config) {
			cfg.Isolation, cfg.Timeout, cfg.LockWait = level, 500*time.Millisecond, 200*time.Millisecond
		})
		ok(t, b.add(ctx, "a"))
		tx, _ := oncepg.Tx(ctx)
		var pid int
		ok(t, tx.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid))
		complete := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return s.Complete(ctx, c.Key, c.Owner, outcome("x"), long)
		}
		ok(t, syscall.Kill(pid, syscall.SIGSTOP))
		if err := complete(2 * time.Second); err == nil || once.IsNoEffect(err) || errors.Is(err, once.ErrLost) {
			t.Errorf("%s: complete: got %v, which is definite", level, err)
		}
		ok(t, syscall.Kill(pid, syscall.SIGCONT))
		var err error
		eventually(t, "it is known what came of the transaction", func() bool {
			err = complete(time.Minute)
			return err == nil || errors.Is(err, once.ErrRolledBack) // pgx asks the server to cancel what it gives up
		})
		if n := b.count(t, "a"); n != 1 && err == nil || n != 0 && err != nil {
			t.Errorf("%s: complete: got %v, and %d effects", level, err, n)
		}
	}
}
