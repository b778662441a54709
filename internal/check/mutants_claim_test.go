package check

import (
	"time"

	"github.com/oncehq/once"
)

func takeoverMutants() []culprit {
	return []culprit{
		storeMutant("a claim takes over without asking", three, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				c.Takeover = 1 << 30
				return e.claim(now, c)
			}
		}),
		storeMutant("a takeover counts no attempts", three, func(_ *world, v *verbs) {
			v.claim = func(e *entry, now instant, c once.Claim) (once.Record, error) {
				doubt := e.state(now) == once.InDoubt
				if doubt && c.Takeover > e.attempt && e.owner != c.Owner {
					e.attempt--
				}
				return e.claim(now, c)
			}
		}).under(once.Rerun),
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
	}
}

func replyMutants() []culprit {
	return []culprit{
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
