package oncetest

import (
	"context"
	"maps"
	"time"

	"github.com/oncehq/once"
)

// A Model is the contract of [once.Store] as a program: the plainest store there is, with nothing
// in it but the meaning of the verbs. It is what other stores are compared with.
//
// It is a once.Store for one goroutine at a time, forgets nothing that it need not forget, and is
// not bounded. Its zero value is empty and ready for use.
type Model struct {
	// Now is the store's clock. Defaults to time.Now.
	Now func() time.Time

	records map[once.Key]entry
	fence   uint64
}

var _ once.Store = (*Model)(nil)

// An entry is a record, with instants in place of what is left of them.
type entry struct {
	once.Record
	ends    time.Time     // of the lease, or of the retention when done
	endless bool          // there is no such instant
	forget  time.Duration // Claim.Forget of the latest owner
}

func (m *Model) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// until sets when the lease or retention ends.
func (e *entry) until(now time.Time, d time.Duration) {
	e.ends, e.endless = now.Add(d), d == once.Forever
}

func (e *entry) over(now time.Time) bool { return !e.endless && !now.Before(e.ends) }

// at returns the record as it is seen at the moment.
func (e *entry) at(now time.Time) once.Record {
	r, left := e.Record, e.ends.Sub(now)
	if e.endless {
		left = once.Forever
	}
	switch {
	case r.State == once.Done:
		r.Retention = left
	case e.over(now):
		r.State, r.Lease = once.InDoubt, left
	default:
		r.Lease = left
	}
	return r
}

// find returns what is recorded of the operation, if it is not absent.
func (m *Model) find(k once.Key, now time.Time) (entry, bool) {
	e, ok := m.records[k]
	if ok && e.State == once.Done && e.over(now) {
		delete(m.records, k)
		return entry{}, false
	}
	return e, ok
}

// owned returns what is recorded of the operation, if o owns it and there is no outcome.
func (m *Model) owned(k once.Key, o once.Owner, now time.Time) (entry, bool) {
	e, ok := m.find(k, now)
	return e, ok && e.Owner == o && e.State != once.Done
}

// Claim implements [once.Store].
func (m *Model) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	if err := ctx.Err(); err != nil {
		return once.Record{}, err
	}
	if err := c.Check(); err != nil {
		return once.Record{}, err
	}
	now := m.now()
	e, ok := m.find(c.Key, now)
	if !ok {
		e = entry{Record: once.Record{Key: c.Key, Fingerprint: c.Fingerprint, Created: now}}
		m.assign(&e, c, now)
		return e.at(now), nil
	}
	if !e.Fingerprint.Matches(c.Fingerprint) {
		return once.Record{}, once.ErrMismatch
	}
	if rec := e.at(now); rec.State == once.InDoubt && c.Takeover > rec.Attempt && c.Owner != rec.Owner {
		m.assign(&e, c, now)
	}
	return e.at(now), nil
}

// assign makes the claim's owner that of the operation, for its next attempt.
func (m *Model) assign(e *entry, c once.Claim, now time.Time) {
	m.fence++
	e.State, e.Owner, e.Fence, e.forget = once.InFlight, c.Owner, m.fence, c.Forget
	e.Attempt++
	e.until(now, c.Lease)
	m.put(*e)
}

func (m *Model) put(e entry) {
	if m.records == nil {
		m.records = make(map[once.Key]entry)
	}
	m.records[e.Key] = e
}

// Renew implements [once.Store].
func (m *Model) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := m.now()
	e, ok := m.owned(k, o, now)
	if !ok {
		return once.ErrLost
	}
	e.until(now, lease)
	m.put(e)
	return nil
}

// Complete implements [once.Store].
func (m *Model) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := m.now()
	e, ok := m.find(k, now)
	switch {
	case !ok || e.Owner != o:
		return once.ErrLost
	case e.State == once.Done && !e.Outcome.Equal(out):
		return once.ErrLost
	case e.State == once.Done:
		return nil
	case retention == 0:
		delete(m.records, k)
		return nil
	}
	e.State, e.Outcome = once.Done, out
	e.until(now, retention)
	m.put(e)
	return nil
}

// Release implements [once.Store].
func (m *Model) Release(ctx context.Context, k once.Key, o once.Owner) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, ok := m.owned(k, o, m.now()); !ok {
		return once.ErrLost
	}
	delete(m.records, k)
	return nil
}

// Load implements [once.Store].
func (m *Model) Load(ctx context.Context, k once.Key) (once.Record, error) {
	if err := ctx.Err(); err != nil {
		return once.Record{}, err
	}
	now := m.now()
	e, ok := m.find(k, now)
	if !ok {
		return once.Record{}, once.ErrNotFound
	}
	return e.at(now), nil
}

// Forget implements [once.Forgetter].
func (m *Model) Forget(ctx context.Context, k once.Key, o once.Owner) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, ok := m.find(k, m.now())
	switch {
	case !ok:
		return once.ErrNotFound
	case e.Owner != o:
		return once.ErrLost
	}
	delete(m.records, k)
	return nil
}

// Forgettable reports whether a store may have forgotten the operation by now, because it has
// been in doubt for the claim's Forget. The model itself keeps it; see Drop.
func (m *Model) Forgettable(k once.Key) bool {
	now := m.now()
	e, ok := m.records[k] // find would remove what is over, and the clock may be ahead here
	return ok && e.at(now).State == once.InDoubt && e.forget > 0 && now.Sub(e.ends) >= e.forget
}

// Drop makes the operation absent.
func (m *Model) Drop(k once.Key) { delete(m.records, k) }

// Clone returns a model of its own in the same state, with the same clock.
func (m *Model) Clone() *Model {
	return &Model{Now: m.Now, records: maps.Clone(m.records), fence: m.fence}
}
