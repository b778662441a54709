package oncepg

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// An executor runs a statement, in a transaction or in one of its own.
type executor interface {
	queryer
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// transact runs a statement so that a role's or a database's settings do not weaken it. Only a nil
// error means that it was committed.
func (s *Store) transact(ctx context.Context, call func(executor) error) error {
	before, after := s.found.transaction()
	return s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		err := runAll(ctx, c, before)
		if err == nil {
			err = call(c)
		}
		if err == nil {
			err = runAll(ctx, c, after)
		}
		if err == nil {
			err = unconfirmed(c.Conn())
		}
		return err // the pool closes a connection that comes back within a transaction
	})
}

func runAll(ctx context.Context, db executor, statements []string) error {
	for _, sql := range statements {
		if _, err := db.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
