package oncesql

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/oncehq/once"
)

// Of a batch.
const (
	maxStatement = 256 // claims in one statement
	maxTogether  = 64  // claims under way where each is a statement
)

var _ once.Batcher = (*Store)(nil)

// ClaimBatch implements [once.Batcher]. MariaDB takes the claims in one statement, of which each
// row is a claim. MySQL does too if none or all of the operations are there, and else takes those
// that are not there in a second one. With SQLite they share a commit.
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	mysql, ok := s.engine.(*mysqlEngine)
	if !ok {
		s.claimEach(ctx, claims, results)
		return results
	}
	claimPart := s.claimPart
	if s.sql.lookAll != "" {
		claimPart = s.claimTogether
	}
	var order []int
	for i, c := range claims {
		if results[i].Err = c.Check(); results[i].Err == nil {
			order = append(order, i)
		}
	}
	// In the order of the index, so that two batches cannot each have what the other waits for.
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := claims[a].Key, claims[b].Key
		return cmp.Or(cmp.Compare(x.Scope, y.Scope), cmp.Compare(x.ID, y.ID))
	})
	order, copies := apart(claims, order)
	for part := range slices.Chunk(order, maxStatement) {
		if err := claimPart(ctx, mysql, claims, results, part); err != nil {
			for _, i := range part {
				results[i] = once.ClaimResult{Err: err}
			}
		}
	}
	for _, i := range copies {
		results[i].Record, results[i].Err = s.Claim(ctx, claims[i])
	}
	return results
}

// apart takes out what claims the same key as the one before, which nobody should. One statement
// cannot answer both.
func apart(claims []once.Claim, order []int) (firsts, copies []int) {
	for n, i := range order {
		if n > 0 && claims[i].Key == claims[order[n-1]].Key {
			copies = append(copies, i)
		} else {
			firsts = append(firsts, i)
		}
	}
	return firsts, copies
}

// claimPart makes those of the claims that part names, in one statement.
func (s *Store) claimPart(
	ctx context.Context, e *mysqlEngine, claims []once.Claim, results []once.ClaimResult, part []int,
) error {
	bounded, cancel, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	at := make(map[once.Key]int, len(part))
	var args []any
	for _, i := range part {
		at[claims[i].Key] = i
		args = append(args, insertArgs(claims[i])...)
	}
	more := strings.Repeat(", "+s.sql.insertRow, len(part)-1)
	text := strings.Replace(s.sql.insertOrSee, s.sql.insertRow, s.sql.insertRow+more, 1)
	text = strings.Replace(text, "RETURNING ", "RETURNING scope, id, ", 1)
	seen, err := e.seeAll(bounded, text, args)
	if err != nil {
		return explain(err)
	}
	var unsure []int
	for k, r := range seen {
		i := at[k]
		rec, settled, err := s.contest(bounded, claims[i], r)
		if err == nil && settled && s.unsure(claims[i], r, rec) {
			unsure = append(unsure, i)
		}
		if err == nil && !settled { // the row has changed since
			rec, err = s.Claim(ctx, claims[i])
		}
		results[i] = once.ClaimResult{Record: rec, Err: err}
	}
	s.confirmThese(bounded, results, unsure)
	return nil
}

// confirmThese confirms those of the results.
func (s *Store) confirmThese(ctx context.Context, results []once.ClaimResult, these []int) {
	if len(these) == 0 {
		return
	}
	if err := s.confirm(ctx); err != nil {
		for _, i := range these {
			results[i] = once.ClaimResult{Err: err}
		}
	}
}

// claimEach makes the claims by themselves, many at a time.
func (s *Store) claimEach(ctx context.Context, claims []once.Claim, results []once.ClaimResult) {
	var all sync.WaitGroup
	turns := make(chan struct{}, maxTogether)
	for i, c := range claims {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			results[i].Record, results[i].Err = s.Claim(ctx, c)
		})
	}
	all.Wait()
}
