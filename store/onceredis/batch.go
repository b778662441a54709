package onceredis

import (
	"context"
	"sync"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// ClaimBatch implements [once.Batcher]: one round trip, in a Cluster one for each of its masters
// at the same time. With Config.MinReplicas every claim is a round trip of its own, many at the
// same time.
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	if s.cfg.MinReplicas > 0 {
		var wg sync.WaitGroup
		next := make(chan int)
		for range min(len(claims), s.cfg.MaxConns) {
			wg.Go(func() {
				for i := range next {
					results[i].Record, results[i].Err = s.Claim(ctx, claims[i])
				}
			})
		}
		for i := range claims {
			next <- i
		}
		close(next)
		wg.Wait()
		return results
	}
	todo := make([]int, 0, len(claims)) // indices into claims
	for i, c := range claims {
		if results[i].Err = c.Check(); results[i].Err == nil {
			todo = append(todo, i)
		}
	}
	unknown := s.claimAll(ctx, s.scripts.claim.evalsha, claims, todo, results)
	s.claimAll(ctx, s.scripts.claim.eval, claims, unknown, results)
	return results
}

// claimAll makes the claims at these indices, and returns those that failed because the server
// does not know the script.
func (s *Store) claimAll(
	ctx context.Context,
	command func(rueidis.Builder, string, ...string) rueidis.Completed,
	claims []once.Claim, todo []int, results []once.ClaimResult,
) (unknown []int) {
	if len(todo) == 0 {
		return nil
	}
	if err := s.usable(ctx); err != nil {
		for _, i := range todo {
			results[i].Err = err
		}
		return nil
	}
	cmds := make(rueidis.Commands, len(todo))
	for n, i := range todo {
		cmds[n] = command(s.client.B(), s.name(claims[i].Key), claimArgs(claims[i])...)
	}
	for n, reply := range s.client.DoMulti(patient{ctx}, cmds...) {
		i := todo[n]
		m, err := reply.ToMessage()
		if isNoScript(err) {
			unknown = append(unknown, i)
			continue
		}
		if othersError(ctx, err) {
			results[i].Record, results[i].Err = s.Claim(ctx, claims[i])
			continue
		}
		if err != nil {
			results[i].Err = s.explain("claim", err)
			continue
		}
		results[i].Record, results[i].Err = claimReply(claims[i], m)
	}
	return unknown
}
