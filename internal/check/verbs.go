package check

import (
	"time"

	"github.com/oncehq/once"
)

// verbs are a store's behaviour, each verb a function of one entry and the clock. The entry is
// never one that is over: who calls a verb has removed it before. Mutants replace some of them.
type verbs struct {
	over     func(e *entry, now instant) bool
	claim    func(e *entry, now instant, c once.Claim) (once.Record, error)
	renew    func(e *entry, now instant, o once.Owner, lease time.Duration) error
	complete func(e *entry, now instant, o once.Owner, out outcome, retention time.Duration) error
	release  func(e *entry, now instant, o once.Owner) error
	load     func(e *entry, now instant) (once.Record, error)
}

// contract returns the verbs as the documentation of [once.Store] wants them.
func contract() verbs {
	return verbs{
		over:     (*entry).over,
		claim:    (*entry).claim,
		renew:    (*entry).renew,
		complete: (*entry).complete,
		release:  (*entry).release,
		load:     (*entry).load,
	}
}

func (e *entry) claim(now instant, c once.Claim) (once.Record, error) {
	switch {
	case e.phase == absent:
		e.fingerprint = c.Fingerprint
		e.assign(now, c)
	case !e.fingerprint.Matches(c.Fingerprint):
		return once.Record{}, once.ErrMismatch
	case e.owner != c.Owner && e.state(now) == once.InDoubt && c.Takeover > e.attempt:
		e.assign(now, c)
	}
	return e.record(now), nil
}

// assign makes the claim's owner that of the operation, for its next attempt.
func (e *entry) assign(now instant, c once.Claim) {
	e.phase, e.owner, e.forget = claimed, c.Owner, c.Forget
	e.ends = now.plus(c.Lease)
	e.attempt++
	e.given++
	e.fence = e.given
}

func (e *entry) owned(o once.Owner) bool { return e.phase == claimed && e.owner == o }

func (e *entry) renew(now instant, o once.Owner, lease time.Duration) error {
	if !e.owned(o) {
		return once.ErrLost
	}
	e.ends = now.plus(lease)
	return nil
}

func (e *entry) complete(now instant, o once.Owner, out outcome, retention time.Duration) error {
	switch {
	case e.phase == done && e.owner == o && e.outcome == out:
		return nil
	case !e.owned(o):
		return once.ErrLost
	case retention == 0:
		e.remove()
		return nil
	}
	e.phase, e.outcome, e.ends = done, out, now.plus(retention)
	return nil
}

func (e *entry) release(_ instant, o once.Owner) error {
	if !e.owned(o) {
		return once.ErrLost
	}
	e.remove()
	return nil
}

func (e *entry) load(now instant) (once.Record, error) {
	if e.phase == absent {
		return once.Record{}, once.ErrNotFound
	}
	return e.record(now), nil
}
