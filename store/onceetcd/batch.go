package onceetcd

import (
	"context"
	"errors"

	"github.com/oncehq/once"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// batchSize is how many claims travel together. Servers take at most 128 operations in one
// transaction, unless told otherwise (--max-txn-ops).
const batchSize = 100

// ClaimBatch implements [once.Batcher]: a transaction of transactions, one for each claim, for
// every hundred of them. Takeovers are made one by one.
func (s *Store) ClaimBatch(ctx context.Context, claims []once.Claim) []once.ClaimResult {
	results := make([]once.ClaimResult, len(claims))
	todo := make([]int, 0, len(claims)) // indices into claims
	for i, c := range claims {
		if results[i].Err = c.Check(); results[i].Err == nil {
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		n := min(len(todo), batchSize)
		s.claimAll(ctx, claims, todo[:n], results)
		todo = todo[n:]
	}
	return results
}

// claimAll makes the claims at these indices.
func (s *Store) claimAll(ctx context.Context, claims []once.Claim, todo []int, results []once.ClaimResult) {
	turns := make([]turn, len(todo))
	resp, err := s.txn(ctx, "claim", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		ops := make([]clientv3.Op, len(todo))
		for i, at := range todo {
			n := namesOf(s.cfg.Prefix, claims[at].Key)
			var err error
			if turns[i], err = s.turn(ctx, n, claims[at], record{}); err != nil {
				return nil, err
			}
			ops[i] = clientv3.OpTxn(turns[i].conditions, turns[i].writes, n.get())
		}
		return s.client.Txn(ctx).Then(ops...).Commit()
	}, func() (leases []clientv3.LeaseID) {
		for _, t := range turns {
			leases = append(leases, t.leases...)
		}
		return leases
	})
	for i, at := range todo {
		c, r := claims[at], &results[at]
		if errors.Is(err, rpctypes.ErrNoSpace) {
			r.Record, r.Err = s.full(ctx, c, err)
			continue
		}
		if r.Err = err; err != nil {
			continue
		}
		one := resp.Responses[i].GetResponseTxn()
		if one.Succeeded {
			r.Record = turns[i].won(resp.Header.Revision)
			continue
		}
		var seen record
		seen, r.Err = decodeGet(c.Key, resp.Header.Revision, one.Responses)
		switch {
		case r.Err != nil:
		case open(c, seen):
			r.Record, r.Err = s.claim(ctx, c, seen)
		default:
			r.Record, r.Err = s.standing(ctx, c, seen)
		}
	}
}
