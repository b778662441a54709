package oncetest

import (
	"context"
	"errors"
	"time"

	"github.com/oncehq/once"
)

var cancelling = []property{
	{"a verb whose context is done before it starts must change nothing", cancelledBefore, 0},
	{"a claim whose context is done before it starts must take nothing over", cancelledTakeover, leases},
	{"a verb whose context ends meanwhile is carried out whole or not at all", cancelledMeanwhile, leases},
	{"a completion whose context ends meanwhile may be repeated", cancelledCompletion, 0},
}

// finished returns contexts that are done, each in its own way.
func (x *trial) finished() []context.Context {
	cancelled, cancel := context.WithCancel(x.ctx)
	cancel()
	late, cancel := context.WithDeadline(x.ctx, time.Now().Add(-time.Second))
	x.Cleanup(cancel)
	return []context.Context{cancelled, late}
}

// failed checks that a verb under a finished context returned an error.
func (x *trial) failed(err error, verb string) {
	x.Helper()
	if err == nil {
		x.Errorf("%s under a context that is done: got no error", verb)
	}
}

func cancelledBefore(x *trial) {
	for _, ctx := range x.finished() {
		absent := x.newClaim()
		_, err := x.store.Claim(ctx, absent)
		x.failed(err, "claim")
		x.absent(absent.Key)
		_, err = x.store.Load(ctx, absent.Key)
		x.failed(err, "load")

		c := x.newClaim()
		x.winsAnew(c)
		verbs := func() {
			x.failed(x.store.Renew(ctx, c.Key, c.Owner, 2*long), "renew")
			x.failed(x.store.Renew(ctx, c.Key, c.Owner, 0), "end of the lease")
			x.failed(x.store.Complete(ctx, c.Key, c.Owner, x.outcome(), long), "complete")
			x.failed(x.store.Complete(ctx, c.Key, c.Owner, x.outcome(), 0), "complete without retention")
			x.failed(x.store.Release(ctx, c.Key, c.Owner), "release")
		}
		if x.opt.Transactional {
			verbs()
		} else {
			x.untouched(c.Key, verbs)
		}
		out := x.outcome()
		x.completes(c, out, long)
		x.holds(c.Key, out)
	}
}

func cancelledTakeover(x *trial) {
	for _, ctx := range x.finished() {
		c := x.record(once.InDoubt)
		x.untouched(c.Key, func() {
			late := x.claimOn(c.Key)
			late.Takeover = 100
			_, err := x.store.Claim(ctx, late)
			x.failed(err, "claim")
		})
	}
}

// interrupt runs the verb under a context that ends at a random moment about while it runs. An
// error of the store's own, which the verb could return without that, is not expected.
func (x *trial) interrupt(typical time.Duration, verb func(context.Context) error) error {
	x.Helper()
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	if x.opt.Bubble {
		// Time stands still while the verb runs; what is left to chance is the scheduler's.
		go cancel()
	} else {
		timer := time.AfterFunc(time.Duration(x.rnd.Int64N(int64(2*typical)+1)), cancel)
		defer timer.Stop()
	}
	err := verb(ctx)
	for _, own := range []error{once.ErrLost, once.ErrMismatch, once.ErrNotFound} {
		if errors.Is(err, own) {
			x.Fatalf("an interrupted verb returned %q", err)
		}
	}
	return err
}

// interruption is a verb that is interrupted, with what it leads from and to.
type interruption struct {
	name     string
	from, to once.State // 0: absent
	verb     func(context.Context, once.Claim) error
}

func (x *trial) interruptions() []interruption {
	claim := func(ctx context.Context, c once.Claim) error {
		_, err := x.store.Claim(ctx, c)
		return err
	}
	out := x.outcome()
	return []interruption{
		{"claim", 0, once.InFlight, claim},
		{"renew", once.InDoubt, once.InFlight, func(ctx context.Context, c once.Claim) error {
			return x.store.Renew(ctx, c.Key, c.Owner, long)
		}},
		{"end of the lease", once.InFlight, once.InDoubt, func(ctx context.Context, c once.Claim) error {
			return x.store.Renew(ctx, c.Key, c.Owner, 0)
		}},
		{"complete", once.InFlight, once.Done, func(ctx context.Context, c once.Claim) error {
			return x.store.Complete(ctx, c.Key, c.Owner, out, long)
		}},
		{"release", once.InFlight, 0, func(ctx context.Context, c once.Claim) error {
			return x.store.Release(ctx, c.Key, c.Owner)
		}},
	}
}

func cancelledMeanwhile(x *trial) {
	for _, i := range x.interruptions() {
		for range 12 {
			c := x.newClaim()
			if i.from != 0 {
				c = x.record(i.from)
			}
			started := time.Now()
			_, err := x.store.Load(x.ctx, c.Key)
			typical := time.Since(started)
			if i.from != 0 {
				x.ok(err, "load")
			}
			err = x.interrupt(typical, func(ctx context.Context) error { return i.verb(ctx, c) })

			got := x.look(c.Key)
			if got.State != i.to && (err == nil || got.State != i.from) {
				x.Fatalf("%s, interrupted (error %v): the operation is %s, want %s, or %s if there was an error",
					i.name, err, name(got.State), name(i.to), name(i.from))
			}
			if got.State != 0 && (got.Owner != c.Owner || got.Attempt != 1) {
				x.Fatalf("%s, interrupted: the record is %s", i.name, describe(got.Record))
			}

			// Whatever happened, repeating the verb leads where it was to lead.
			err = i.verb(x.ctx, c)
			if !(i.to == 0 && errors.Is(err, once.ErrLost)) {
				x.ok(err, i.name+", repeated after it was interrupted")
			}
			if got := x.look(c.Key); got.State != i.to {
				x.Fatalf("%s, repeated after it was interrupted: the operation is %s, want %s",
					i.name, name(got.State), name(i.to))
			}
		}
	}
}

func cancelledCompletion(x *trial) {
	for range 12 {
		c, out := x.newClaim(), x.outcome()
		started := time.Now()
		x.winsAnew(c)
		err := x.interrupt(time.Since(started), func(ctx context.Context) error {
			return x.store.Complete(ctx, c.Key, c.Owner, out, long)
		})
		if err != nil {
			x.completes(c, out, long)
		}
		x.holds(c.Key, out)
	}
}
