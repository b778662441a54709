package check

import (
	"time"

	"github.com/oncehq/once"
)

func ownerMutants() []culprit {
	return []culprit{
		storeMutant("complete does not check the owner", three, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, _ once.Owner, out outcome, d time.Duration) error {
				return e.complete(now, e.owner, out, d)
			}
		}).hidden().under(once.Rerun),
		storeMutant("renew does not check the owner", endings, func(_ *world, v *verbs) {
			v.renew = func(e *entry, now instant, _ once.Owner, d time.Duration) error {
				return e.renew(now, e.owner, d)
			}
		}).hidden().under(once.Rerun),
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
		}).hidden().under(once.Rerun),
	}
}

func completeMutants() []culprit {
	return []culprit{
		storeMutant("a stale complete is acknowledged", three, func(_ *world, v *verbs) {
			v.complete = func(e *entry, now instant, o once.Owner, out outcome, d time.Duration) error {
				e.complete(now, o, out, d)
				return nil
			}
		}).hidden().under(once.Rerun),
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
		}).hidden().under(once.Rerun).needing(3),
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
