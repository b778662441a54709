package oncepg

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/oncehq/once"
)

// sweepStep is how many rows are removed in one transaction. It holds their locks meanwhile.
const sweepStep = 1000

// Sweep implements [once.Sweeper]. It removes the rows of records that have been over for an hour,
// be it that they were released or that their retention is over.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	swept := 0
	for {
		if s.batcher.isClosed() {
			return swept, once.ErrClosed
		}
		var n int64
		err := s.transact(ctx, func(db executor) error {
			tag, err := db.Exec(ctx, s.sql.sweep, int32(sweepStep))
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return swept, explain(err)
		}
		swept += int(n)
		if n < sweepStep {
			return swept, nil
		}
	}
}

// sweepOften sweeps from time to time until ctx is done. An error is left to the next time, and
// to the verbs, which will run into the same.
func (s *Store) sweepOften(ctx context.Context) {
	for {
		// Not all processes at once.
		t := time.NewTimer(s.cfg.Sweep/2 + rand.N(s.cfg.Sweep))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			s.Sweep(ctx)
		}
	}
}
