package check

import (
	"context"
	"time"

	"github.com/oncehq/once"
)

// A culprit is a mutant, and where it must be caught.
type culprit struct {
	mutant
	study    string // whose histories show it
	attempts int    // Config.MaxAttempts
	needs    int    // so many misfortunes, at least
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
		guardMutant("an owner that lost gives its own outcome", three, plain{answersWhenLost: true}),
		guardMutant("an owner is used for all attempts", three, plain{reusesOwner: true}).needing(2),
		guardMutant("a lost reply to complete runs the operation again", two, plain{rerunsOnUnknown: true}),
		guardMutant("a lost reply to claim runs the operation", two, plain{runsOnUnknown: true}),
		guardMutant("an operation in doubt is run without a claim", two, plain{runsInDoubt: true}),
		guardMutant("an operation in flight is run without a claim", two, plain{runsInFlight: true}),
		guardMutant("the fingerprint is not passed on", others, plain{dropsFingerprint: true}),
		guardMutant("the scope is not passed on", others, plain{dropsScope: true}),
		guardMutant("MaxAttempts is ignored", three, plain{takesAny: true}).allowing(1),
		guardMutant("Rerun never takes over", two, plain{takesNone: true}),
		guardMutant("a replay is cut short", two, plain{garbles: true}),
		guardMutant("the lease is counted by a client's clock", two, plain{longLease: true}),
		guardMutant("nobody renews the lease, or notices", heartbeats, plain{}),
	}
}

func storeMutants() []culprit {
	return []culprit{
		storeMutant("complete does not check the owner", three, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, _ once.Owner, out outcome, d time.Duration) error {
				return e.complete(now, e.owner, out, d)
			}
		}).hidden(),
		storeMutant("renew does not check the owner", endings, func(_ *world, v *verbs) {
			v.renew = func(e *entry, now instant, _ once.Owner, d time.Duration) error {
				return e.renew(now, e.owner, d)
			}
		}).hidden(),
		storeMutant("release does not check the owner", endings, func(_ *world, v *verbs) {
			v.release = func(e *entry, now instant, _ once.Owner) error { return e.release(now, e.owner) }
		}).hidden(),
		storeMutant("complete overwrites an outcome", operators, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				if e.phase == done {
					e.phase = claimed
				}
				return e.complete(now, o, out, d)
			}
		}),
		storeMutant("complete overwrites a stranger's outcome", three, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				if e.phase == done {
					e.phase = claimed
					return e.complete(now, e.owner, out, d)
				}
				return e.complete(now, o, out, d)
			}
		}).hidden(),
		storeMutant("a stale complete is acknowledged", three, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				e.complete(now, o, out, d)
				return nil
			}
		}).hidden(),
		storeMutant("complete is refused when the lease is over", two, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				if e.state(now) == once.InDoubt {
					return once.ErrLost
				}
				return e.complete(now, o, out, d)
			}
		}),
		storeMutant("complete cannot be repeated", two, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				if e.phase == done {
					return once.ErrLost
				}
				return e.complete(now, o, out, d)
			}
		}),
		storeMutant("the retention is counted from the claim", two, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				start := e.ends - instant(lease)
				err := e.complete(now, o, out, d)
				if err == nil && now != start {
					e.ends = start.plus(d)
				}
				return err
			}
		}),
		storeMutant("renew brings a done record back to life", operators, func(_ *world, v *verbs) {
			v.renew = func(e *entry, now instant, o once.Owner, d time.Duration) error {
				if e.phase == done && e.owner == o {
					e.phase, e.outcome = claimed, outcome{}
				}
				return e.renew(now, o, d)
			}
		}).hidden().needing(3),
		storeMutant("the fence starts again after a release", endings, func(_ *world, v *verbs) {
			v.release = func(e *entry, now instant, o once.Owner) error {
				err := e.release(now, o)
				if err == nil {
					e.given = 0
				}
				return err
			}
		}),
	}
}

func claimMutants() []culprit {
	return []culprit{
		storeMutant("a claim takes over without asking", three, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				c.Takeover = 1 << 30
				return e.claim(now, c)
			}
		}),
		storeMutant("a takeover counts no attempts", three, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				if e.phase == claimed && c.Takeover > e.attempt && e.owner != c.Owner && e.state(now) == once.InDoubt {
					e.attempt--
				}
				return e.claim(now, c)
			}
		}),
		storeMutant("a claim takes over while the lease runs", two, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				if e.phase == claimed && c.Takeover > e.attempt && e.owner != c.Owner {
					e.ends = now
				}
				return e.claim(now, c)
			}
		}),
		storeMutant("another fingerprint is ignored", others, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				c.Fingerprint = e.fingerprint
				return e.claim(now, c)
			}
		}),
		storeMutant("a mismatch reveals the record", others, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				rec, err := e.claim(now, c)
				if err != nil {
					return e.record(now), err
				}
				return rec, nil
			}
		}),
		storeMutant("a mismatch is noticed only when done", others, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				if e.phase == claimed {
					c.Fingerprint = e.fingerprint
				}
				return e.claim(now, c)
			}
		}),
		storeMutant("a repeated claim counts as another attempt", two, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				if e.phase == claimed && e.owner == c.Owner {
					e.assign(now, c)
				}
				return e.claim(now, c)
			}
		}),
		storeMutant("two claims win", two, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				rec, err := e.claim(now, c)
				if rec.State == once.InFlight {
					rec.Owner = c.Owner
				}
				return rec, err
			}
		}),
		storeMutant("a lease that is over is shown as running", two, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				rec, err := e.claim(now, c)
				if rec.State == once.InDoubt {
					rec.State = once.InFlight
				}
				return rec, err
			}
		}),
		storeMutant("what is in doubt is forgotten with its lease", two, func(_ *world, v *verbs) {
			v.over = func(e *entry, now instant) bool { return e.over(now) || e.state(now) == once.InDoubt }
		}),
		storeMutant("a replay lacks a byte", two, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				rec, err := e.claim(now, c)
				if n := len(rec.Outcome.Data); n > 0 {
					rec.Outcome.Data = rec.Outcome.Data[:n-1]
				}
				return rec, err
			}
		}),
		storeMutant("leases end by the clock of the client", two, func(w *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				if w.owners.id(c.Owner)>>8 == 2 { // the second caller's clock is an hour fast
					c.Lease += time.Hour
				}
				return e.claim(now, c)
			}
		}),
		storeMutant("a commit records what was rolled back", transacting, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				if e.phase == absent {
					e.phase, e.owner, e.attempt = claimed, o, 1
				}
				return e.complete(now, o, out, d)
			}
		}),
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
