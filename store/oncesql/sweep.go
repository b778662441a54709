package oncesql

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/oncehq/once"
)

// sweepStep is how many rows are removed in one transaction. It holds their locks meanwhile.
const sweepStep = 200

// Sweep implements [once.Sweeper]. It removes the rows of records that have been over for an hour,
// be it that they were released or that their retention is over.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	swept := 0
	for {
		if s.closed.Load() {
			return swept, once.ErrClosed
		}
		n, err := s.engine.sweep(ctx, &s.sql, sweepStep)
		swept += n
		if err != nil || n < sweepStep {
			return swept, explain(err)
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
