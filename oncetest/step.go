package oncetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// A step is one call of a verb.
type step struct {
	verb      Verb
	key       once.Key
	owner     once.Owner
	claim     once.Claim
	outcome   once.Outcome
	duration  time.Duration // lease or retention
	cancelled bool          // the context is done before the verb starts
}

// A reply is what a step came to.
type reply struct {
	once.Record
	err error
}

func (st step) on(ctx context.Context, s once.Store) (r reply) {
	if st.cancelled {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	}
	switch st.verb {
	case Claim:
		r.Record, r.err = s.Claim(ctx, st.claim)
	case Renew:
		r.err = s.Renew(ctx, st.key, st.owner, st.duration)
	case Complete:
		r.err = s.Complete(ctx, st.key, st.owner, st.outcome, st.duration)
	case Release:
		r.err = s.Release(ctx, st.key, st.owner)
	case Forget:
		r.err = s.(once.Forgetter).Forget(ctx, st.key, st.owner)
	case Load:
		r.Record, r.err = s.Load(ctx, st.key)
	}
	return r
}

func (st step) String() string {
	text := string(st.verb)
	switch st.verb {
	case Claim:
		text += fmt.Sprintf(" by %.6s of %x for %v, takeover %d, forget %v", st.claim.Owner,
			st.claim.Fingerprint[:2], st.claim.Lease, st.claim.Takeover, st.claim.Forget)
	case Renew:
		text += fmt.Sprintf(" by %.6s for %v", st.owner, st.duration)
	case Complete:
		text += fmt.Sprintf(" by %.6s for %v with %q", st.owner, st.duration, st.outcome.Data)
	case Release, Forget:
		text += fmt.Sprintf(" by %.6s", st.owner)
	}
	if st.cancelled {
		text += ", cancelled"
	}
	return text
}

func (r reply) String() string {
	switch {
	case r.err != nil:
		return fmt.Sprintf("error %q", r.err)
	case r.State == 0:
		return "ok"
	}
	return fmt.Sprintf("%v of %.6s, attempt %d, fence %d, lease %v, retention %v, outcome %q",
		r.State, r.Owner, r.Attempt, r.Fence, r.Lease, r.Retention, r.Outcome.Data)
}

// differs says in what the store's reply differs from the model's, or is empty. What is left of a
// lease or retention may differ by as much as slack. Fences are compared elsewhere.
func (r reply) differs(model reply, slack time.Duration) string {
	if r.err != nil || model.err != nil {
		if !errors.Is(r.err, model.err) {
			return "the error"
		}
		if errors.Is(r.err, once.ErrMismatch) && (r.State != 0 || r.Owner != once.Owner{}) {
			return "the record shown with the mismatch"
		}
		return ""
	}
	switch {
	case r.State != model.State:
		return "the state"
	case r.Key != model.Key:
		return "the key"
	case r.Owner != model.Owner:
		return "the owner"
	case r.Fingerprint != model.Fingerprint:
		return "the fingerprint"
	case r.Attempt != model.Attempt:
		return "the attempt"
	case !r.Outcome.Equal(model.Outcome):
		return "the outcome"
	case r.State == once.InFlight && !near(r.Lease, model.Lease, slack):
		return "the lease"
	case r.State == once.InDoubt && r.Lease > 0:
		return "the lease"
	case r.State == once.Done && !near(r.Retention, model.Retention, slack):
		return "the retention"
	}
	return ""
}

func near(a, b, slack time.Duration) bool { return a == b || (a-b).Abs() <= slack }
