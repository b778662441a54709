package check

import (
	"context"
	"errors"
	"math"

	"github.com/oncehq/once"
)

// plain is the guard's protocol again, written down as plainly as possible and without heartbeats
// or waiting. Each of its switches is a mistake that somebody has made before. With all of them
// off the checks must find nothing, or they would prove nothing about those that are on.
type plain struct {
	w     *world
	store once.Store
	nonce once.Owner // of all attempts, with reusesOwner

	deletesOnError   bool // an error is taken for "nothing happened"
	releasesOnPanic  bool
	answersFirst     bool // before the outcome is recorded
	trustsUnknown    bool // an outcome whose recording got no reply is given to the caller
	answersWhenLost  bool // the caller gets its own outcome, though another owner took over
	reusesOwner      bool
	rerunsOnUnknown  bool // a lost reply to the outcome is taken for a failure of the operation
	runsOnUnknown    bool // a lost reply to the claim is taken for a success
	runsInDoubt      bool // an operation in doubt is run without a claim
	runsInFlight     bool // so is one in flight
	dropsFingerprint bool
	dropsScope       bool
	takesAny         bool // MaxAttempts is ignored
	takesNone        bool // so is Rerun
	garbles          bool // a replay is not what was recorded
	holdsAlways      bool // an owner that ends without an outcome does not end its lease
	longLease        bool // the lease is counted by the client's clock, which is wrong
}

func (p plain) guard(w *world, s once.Store) performer {
	p.w, p.store, p.nonce = w, s, once.NewOwner()
	return p.do
}

func (p plain) do(ctx context.Context, k once.Key, fp once.Fingerprint, op operation) (string, error) {
	c := once.Claim{Key: k, Fingerprint: fp, Owner: once.NewOwner(), Lease: lease}
	if p.reusesOwner {
		c.Owner = p.nonce
	}
	if p.dropsFingerprint {
		c.Fingerprint = once.Fingerprint{}
	}
	if p.dropsScope {
		c.Key.Scope = opA.Scope
	}
	if p.longLease {
		c.Lease += lease
	}
	if p.w.sc.policy == once.Rerun && !p.takesNone {
		c.Takeover = p.w.sc.attempts
		if p.takesAny {
			c.Takeover = math.MaxInt
		}
		if p.w.sc.limits.retirements > 0 {
			c.Forget = forgetAfter
		}
	}
	rec, err := p.claim(ctx, c)
	switch {
	case err != nil:
		return "", err
	case rec.Won(c), rec.State == once.InDoubt && p.runsInDoubt,
		rec.State == once.InFlight && p.runsInFlight:
		return p.run(ctx, c, turn{c.Owner, rec.Attempt, rec.Fence}, op)
	case rec.State == once.Done:
		return p.replay(rec.Outcome)
	case rec.State == once.InFlight:
		return "", once.ErrInFlight
	case rec.Owner == c.Owner && !p.reusesOwner:
		p.store.Renew(ctx, c.Key, c.Owner, 0)
		return p.do(ctx, k, fp, op) // as another owner
	}
	return "", once.ErrInDoubt
}

const plainTries = 3

func (p plain) claim(ctx context.Context, c once.Claim) (rec once.Record, err error) {
	for range plainTries {
		if rec, err = p.store.Claim(ctx, c); !errors.Is(err, errUnknown) {
			return rec, err
		}
		if p.runsOnUnknown {
			return once.Record{Owner: c.Owner, State: once.InFlight, Attempt: 1, Fence: 1}, nil
		}
	}
	p.store.Renew(ctx, c.Key, c.Owner, 0)
	return rec, err
}

func (p plain) replay(out once.Outcome) (string, error) {
	v := string(out.Data)
	if p.garbles {
		v = v[:len(v)-1]
	}
	if out.Failed {
		return "", &once.FinalError{Message: v}
	}
	return v, nil
}

func (p plain) run(ctx context.Context, c once.Claim, t turn, op operation) (v string, err error) {
	defer func() {
		if r := recover(); r != nil {
			if p.releasesOnPanic {
				p.store.Release(ctx, c.Key, c.Owner)
			} else {
				p.store.Renew(ctx, c.Key, c.Owner, 0)
			}
			panic(r)
		}
	}()
	v, err = op(ctx, t)
	if _, final := errors.AsType[*once.FinalError](err); err == nil || final {
		return p.complete(ctx, c, t, v, err, op)
	}
	if once.IsNoEffect(err) && t.number == 1 || p.deletesOnError {
		p.store.Release(ctx, c.Key, c.Owner)
	} else if !p.holdsAlways {
		p.store.Renew(ctx, c.Key, c.Owner, 0)
	}
	return v, err
}

// complete records that the operation came to v, or to the final failure.
func (p plain) complete(
	ctx context.Context, c once.Claim, t turn, v string, failure error, op operation,
) (string, error) {
	if p.answersFirst {
		defer p.record(ctx, c, v, failure)
		a := callerOf(ctx).asking[0]
		p.w.told(callerOf(ctx), a, v, failure)
		callerOf(ctx).asking = append(callerOf(ctx).asking, a)
		return v, failure
	}
	err := p.record(ctx, c, v, failure)
	switch {
	case err == nil, errors.Is(err, once.ErrLost) && p.answersWhenLost,
		errors.Is(err, errUnknown) && p.trustsUnknown:
		return v, failure
	case errors.Is(err, errUnknown) && p.rerunsOnUnknown:
		return p.run(ctx, c, t, op)
	}
	return "", err
}

func (p plain) record(ctx context.Context, c once.Claim, v string, failure error) (err error) {
	out := once.Outcome{Type: text{}.Type(), Data: []byte(v)}
	if failure != nil {
		out.Failed, out.Data = true, []byte(failure.Error())
	}
	for range plainTries {
		err = p.store.Complete(ctx, c.Key, c.Owner, out, p.w.sc.retention)
		if !errors.Is(err, errUnknown) || p.trustsUnknown || p.rerunsOnUnknown {
			return err
		}
	}
	return err
}
