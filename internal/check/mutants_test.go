package check

import (
	"context"

	"github.com/oncehq/once"
)

// A culprit is a mutant, and where it must be caught.
type culprit struct {
	mutant
	study    string      // whose histories show it
	attempts int         // Config.MaxAttempts
	needs    int         // so many misfortunes, at least
	policy   once.Policy // zero: either
}

func guardMutant(name, study string, p plain) culprit {
	return culprit{mutant: mutant{name: name, guard: p.guard, deaf: study != heartbeats}, study: study}
}

func storeMutant(name, study string, change func(w *world, v *verbs)) culprit {
	return culprit{mutant: mutant{name: name, verbs: change}, study: study}
}

// allowing returns the culprit in scenarios with so many attempts.
func (c culprit) allowing(attempts int) culprit {
	c.attempts = attempts
	return c
}

// needing returns the culprit with the number of misfortunes that it takes to show it.
func (c culprit) needing(misfortunes int) culprit {
	c.needs = misfortunes
	return c
}

// under returns the culprit with the policy that it takes to show it.
func (c culprit) under(p once.Policy) culprit {
	c.policy = p
	return c
}

// hidden returns the culprit out of sight of the probes, which would find it before anything
// else does.
func (c culprit) hidden() culprit {
	c.unprobed = true
	return c
}

const (
	two         = "two callers, two operations"
	three       = "three callers, one operation"
	endings     = "every ending"
	others      = "other requests, other scopes"
	lateVerbs   = "late verbs"
	operators   = "renewals and operators"
	retention   = "retention"
	heartbeats  = "heartbeats"
	transacting = "transactions"
)

func guardMutants() []culprit {
	return []culprit{
		guardMutant("an error deletes the claim", endings, plain{deletesOnError: true}),
		guardMutant("a panic releases the claim", endings, plain{releasesOnPanic: true}),
		guardMutant("the caller is answered before the outcome is recorded", two, plain{answersFirst: true}),
		guardMutant("an unknown complete is taken for a success", two, plain{trustsUnknown: true}),
		guardMutant("an owner that lost gives its own outcome", three, plain{answersWhenLost: true}).
			under(once.Rerun),
		guardMutant("an owner is used for all attempts", three, plain{reusesOwner: true}).
			under(once.Rerun).needing(2),
		guardMutant("a lost reply to complete runs the operation again", two, plain{rerunsOnUnknown: true}),
		guardMutant("a lost reply to claim runs the operation", two, plain{runsOnUnknown: true}),
		guardMutant("an operation in doubt is run without a claim", two, plain{runsInDoubt: true}),
		guardMutant("an operation in flight is run without a claim", two, plain{runsInFlight: true}),
		guardMutant("the fingerprint is not passed on", others, plain{dropsFingerprint: true}),
		guardMutant("the scope is not passed on", others, plain{dropsScope: true}),
		guardMutant("MaxAttempts is ignored", three, plain{takesAny: true}).under(once.Rerun).allowing(1),
		guardMutant("Rerun never takes over", two, plain{takesNone: true}).under(once.Rerun),
		guardMutant("a replay is cut short", two, plain{garbles: true}),
		guardMutant("the lease is counted by a client's clock", two, plain{longLease: true}),
		guardMutant("nobody renews the lease, or notices", heartbeats, plain{}),
	}
}

// getThenSet is a store whose claim first looks and then writes, in two steps.
type getThenSet struct{ once.Store }

func (s getThenSet) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	rec, err := s.Load(ctx, c.Key)
	if err == nil && (rec.State != once.InDoubt || c.Takeover <= rec.Attempt) {
		if !rec.Fingerprint.Matches(c.Fingerprint) {
			return once.Record{}, once.ErrMismatch
		}
		return rec, nil
	}
	if err != nil && err != once.ErrNotFound {
		return once.Record{}, err
	}
	return s.Store.Claim(ctx, c)
}

func otherMutants() []culprit {
	return []culprit{{
		mutant: mutant{
			name:  "a claim looks first and then writes",
			store: func(s once.Store) once.Store { return getThenSet{s} },
			verbs: func(_ *world, v *verbs) {
				v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
					if e.owner != c.Owner {
						e.assign(now, c)
					}
					return e.claim(now, c)
				}
			},
		},
		study: two,
	}, {
		mutant: mutant{name: "a verb is acknowledged before it is durable", lag: true},
		study:  two,
	}, {
		mutant: mutant{
			name: "the scope is not part of the key",
			slot: func(w *world, key int) int {
				for i, k := range w.keys {
					if k.ID == w.keys[key].ID {
						return i
					}
				}
				return key
			},
		},
		study: others,
	}}
}
