package check

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncetest"
)

// TestContractIsThatOfTheModel carries the same random verbs out on this package's store and on
// the model that stores are tested against: two readings of one contract must agree.
func TestContractIsThatOfTheModel(t *testing.T) {
	const histories, verbs = 2000, 40
	for seed := range uint64(histories) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(1_000_000, 0)
		m := &oncetest.Model{Now: func() time.Time { return now }}
		v, e := contract(), entry{}
		owners := []once.Owner{{1}, {2}, {3}}
		for n := range verbs {
			now = now.Add([]time.Duration{0, 0, 1, lease, 2 * lease}[rnd.IntN(5)])
			at := instant(now.UnixNano())
			if v.over(&e, at) {
				e.remove()
			}
			o := owners[rnd.IntN(len(owners))]
			verb, got, want := one(t, rnd, m, &v, &e, at, o)
			if !same(got, want) {
				t.Fatalf("seed %d, verb %d, %v: got %+v, the model says %+v", seed, n, verb, got, want)
			}
		}
	}
}

// one carries one random verb out on both.
func one(
	t *testing.T, rnd *rand.Rand, m *oncetest.Model, v *verbs, e *entry, now instant, o once.Owner,
) (what verb, got, want reply) {
	ctx, d := t.Context(), []time.Duration{0, lease, 3 * lease}[rnd.IntN(3)]
	what = verb(rnd.IntN(int(load) + 1))
	switch what {
	case claim:
		c := once.Claim{
			Key: opA, Owner: o, Lease: lease, Takeover: rnd.IntN(3),
			Fingerprint: once.Fingerprint{byte(rnd.IntN(3))},
		}
		got.rec, got.err = v.claim(e, now, c)
		want.rec, want.err = m.Claim(ctx, c)
	case renew:
		got.err, want.err = v.renew(e, now, o, d), m.Renew(ctx, opA, o, d)
	case complete:
		out := outcome{data: string(rune('a' + rnd.IntN(2)))}
		got.err = v.complete(e, now, o, out, d)
		want.err = m.Complete(ctx, opA, o, out.once(), d)
	case release:
		got.err, want.err = v.release(e, now, o), m.Release(ctx, opA, o)
	case load:
		got.rec, got.err = v.load(e, now)
		want.rec, want.err = m.Load(ctx, opA)
	}
	return what, got, want
}

// same compares replies, but for what only one of the two knows: when the record came to be, its
// key, and for how long it has been in doubt.
func same(a, b reply) bool {
	x, y := &a.rec, &b.rec
	return errors.Is(a.err, b.err) && x.State == y.State && x.Owner == y.Owner &&
		x.Attempt == y.Attempt && x.Fence == y.Fence && x.Fingerprint == y.Fingerprint &&
		x.Outcome.Equal(y.Outcome) && max(x.Lease, 0) == max(y.Lease, 0) && x.Retention == y.Retention
}
