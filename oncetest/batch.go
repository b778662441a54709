package oncetest

import (
	"sync"

	"github.com/oncehq/once"
)

var batching = []property{
	{"ClaimBatch does what Claim does for each of the claims", batchMixed, 0},
	{"of many batches exactly one must win each key", batchContend, 0},
	{"a batch whose context is done before it starts must change nothing", batchCancelled, 0},
}

func batchMixed(x *trial) {
	s := optional[once.Batcher](x)
	if got := s.ClaimBatch(x.ctx, nil); len(got) != 0 {
		x.Errorf("a batch of no claims got %d results", len(got))
	}
	var claims []once.Claim
	var check []func(once.Claim, once.ClaimResult)
	for range 5 {
		claims = append(claims, x.newClaim())
		check = append(check, func(c once.Claim, r once.ClaimResult) {
			x.ok(r.Err, "claim of an absent key in a batch")
			if !r.Record.Won(c) || r.Record.Attempt != 1 || r.Record.Key != c.Key || r.Record.Fence == 0 {
				x.Errorf("claim of an absent key in a batch: got %s, want a new record", describe(r.Record))
			}
			x.releases(c)
		})
		for _, state := range x.standing() {
			stands := x.record(state)
			want := x.load(stands.Key)
			claims = append(claims, x.claimOn(stands.Key))
			check = append(check, func(c once.Claim, r once.ClaimResult) {
				x.ok(r.Err, "claim of a standing record in a batch")
				got := r.Record
				if got.State != state || got.Owner != want.Owner || !got.Outcome.Equal(want.Outcome) {
					x.Errorf("claim of a standing record in a batch: got %s, want %s",
						describe(got), describe(want))
				}
			})
			claims = append(claims, x.elsewise(x.record(state)))
			check = append(check, func(c once.Claim, r once.ClaimResult) {
				x.fails(once.ErrMismatch, r.Err, "claim with another fingerprint in a batch")
				if r.Record.State != 0 || r.Record.Owner != (once.Owner{}) {
					x.Errorf("a mismatch in a batch was shown %s", describe(r.Record))
				}
			})
		}
		bad := x.newClaim()
		bad.Owner = once.Owner{}
		claims = append(claims, bad)
		check = append(check, func(c once.Claim, r once.ClaimResult) {
			x.failed(r.Err, "a claim without an owner in a batch")
			x.absent(c.Key)
		})
	}
	results := s.ClaimBatch(x.ctx, claims)
	if len(results) != len(claims) {
		x.Fatalf("a batch of %d claims got %d results", len(claims), len(results))
	}
	for i, c := range claims {
		check[i](c, results[i])
	}
}

func batchContend(x *trial) {
	s := optional[once.Batcher](x)
	const batches, size = 8, 50
	keys := make([]once.Key, size)
	for i := range keys {
		keys[i] = x.key()
	}
	claims, results := make([][]once.Claim, batches), make([][]once.ClaimResult, batches)
	var all sync.WaitGroup
	for b := range batches {
		for _, i := range x.rnd.Perm(size) {
			claims[b] = append(claims[b], x.claimOn(keys[i]))
		}
		all.Go(func() { results[b] = s.ClaimBatch(x.ctx, claims[b]) })
	}
	all.Wait()
	wins := make(map[once.Key]int)
	for b := range batches {
		for i, r := range results[b] {
			if x.opt.Transactional && r.Err != nil {
				x.fails(once.ErrInFlight, r.Err, "claim in a batch beside others")
				continue
			}
			x.ok(r.Err, "claim in a batch beside others")
			if r.Record.Won(claims[b][i]) {
				wins[r.Record.Key]++
			}
		}
	}
	for _, k := range keys {
		if wins[k] != 1 {
			x.Errorf("a key was won by %d of %d batches, want 1", wins[k], batches)
		}
	}
}

func batchCancelled(x *trial) {
	s := optional[once.Batcher](x)
	for _, ctx := range x.finished() {
		claims := []once.Claim{x.newClaim(), x.newClaim(), x.newClaim()}
		results := s.ClaimBatch(ctx, claims)
		if len(results) != len(claims) {
			x.Fatalf("a batch of %d claims got %d results", len(claims), len(results))
		}
		for i, c := range claims {
			x.failed(results[i].Err, "claim in a batch")
			x.absent(c.Key)
		}
	}
}
