package oncedisk

import (
	"context"

	"github.com/oncehq/once"
)

// ClaimBatch implements [once.Batcher]: all claims that win share a flush.
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	won := make([]winning, 0, len(claims))
	var late []int
	for i := range claims {
		c := &claims[i]
		if err := c.Check(); err != nil {
			results[i].Err = err
			continue
		}
		// While others may wait for the claims that have won already, to wait for another's
		// verb could be to wait for ever.
		cell, rec, err := s.contest(ctx, c, false)
		if err == errBusy {
			late = append(late, i)
			continue
		}
		if cell == nil {
			results[i] = once.ClaimResult{Record: rec, Err: err}
			continue
		}
		w := winning{index: i, cell: cell, next: s.assign(cell, c)}
		if w.ticket, err = s.enqueue(ctx, cell, &w.next); err != nil {
			s.abandon(cell)
			results[i].Err = err
			continue
		}
		won = append(won, w)
	}
	for i := range won {
		w := &won[i]
		if err := s.await(ctx, w.cell, &w.next, w.ticket); err != nil {
			results[w.index].Err = err
		} else {
			results[w.index].Record = w.next.record(w.next.at)
		}
	}
	for _, i := range late {
		results[i].Record, results[i].Err = s.Claim(ctx, claims[i])
	}
	return results
}

// A winning is a claim of a batch that wins once it is durable.
type winning struct {
	index  int
	cell   *cell
	next   entry
	ticket ticket
}
