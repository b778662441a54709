package oncetest

import (
	"cmp"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// Options say how to reach the store under test, and what may be asked of it.
type Options struct {
	// Open returns the store, or a handle on it. It may hand out the same backend again and
	// again, and other tests may use that: every subtest works in scopes of its own. Open closes
	// what it opened with t.Cleanup. Required.
	Open func(t *testing.T) once.Store

	// Second returns another handle on the backend of the first, as another process would have.
	// Defaults to none: what two handles see of each other is not tested.
	Second func(t *testing.T, first once.Store) once.Store

	// Reopen closes the store, as the end of its process would, and opens it again with all that
	// it acknowledged. Defaults to none: durability is not tested.
	Reopen func(t *testing.T, s once.Store) once.Store

	// SkewedHandle returns another handle on the backend of the first, for which the client's
	// clock (not the store's) is wrong by skew. Defaults to none.
	SkewedHandle func(t *testing.T, first once.Store, skew time.Duration) once.Store

	// Lease is the shortest lease and retention that can be tested. Some twenty of them are
	// waited for. Defaults to 250 ms.
	Lease time.Duration

	// Slack is by how much the store's clock may differ from the test's over one lease, be it
	// because it counts in coarse units or because it runs elsewhere. Defaults to none in a
	// bubble, and else to 50 ms.
	Slack time.Duration

	// Bubble runs each subtest in a synctest bubble, in which time costs nothing. For stores
	// that wait for nothing outside the process.
	Bubble bool

	// Parallel is how many subtests run at the same time, whatever go test is told about parallel
	// tests: most of their time they wait for leases to end. Those that reopen the store, or use it
	// with a clock that is wrong, run alone, after all others. Defaults to 1.
	Parallel int

	// Transactional says that a claim is held in an open transaction: there is nothing to be
	// seen of it until it is completed, other claims of the key fail with ErrInFlight
	// meanwhile, a lease is not measured, and nothing is ever in doubt. What follows from a
	// lease is skipped.
	Transactional bool

	// MaxOutcome is the size of the largest outcome that the store must keep, in bytes.
	// Defaults to 1 MiB.
	MaxOutcome int

	// Claimants is how many callers claim one key at the same time. Defaults to 64.
	Claimants int

	// Histories and Steps say how many random histories are run, of how many verbs each.
	// Default to 2 of 400; in a bubble to 20 of 400.
	Histories, Steps int

	// Seed repeats the random choices of an earlier run, whose log tells it.
	// Defaults to a new one in each run.
	Seed uint64
}

func (o Options) withDefaults() Options {
	o.Lease = cmp.Or(o.Lease, 250*time.Millisecond)
	if !o.Bubble {
		o.Slack = cmp.Or(o.Slack, 50*time.Millisecond)
	}
	o.MaxOutcome = cmp.Or(o.MaxOutcome, 1<<20)
	o.Claimants = cmp.Or(o.Claimants, 64)
	if o.Bubble {
		o.Histories = cmp.Or(o.Histories, 20)
	}
	o.Histories = cmp.Or(o.Histories, 2)
	o.Steps = cmp.Or(o.Steps, 400)
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	return o
}
