package oncenats_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

// leased makes a claim with a short lease.
func leased(t *testing.T, s once.Store) once.Claim {
	t.Helper()
	c := newClaim()
	c.Lease = time.Second
	wins(t, s, c)
	return c
}

// Verbs share the question what time it is. A verb that begins when the answer is on its way already
// must not take it for the time at which it began: others may have seen by then that the lease is over,
// and less is left of it than was then.
func TestTimeFromBeforeAVerbIsNotItsTime(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	g := newGate(t, n.addr())
	s, other := open(t, oncenats.Config{DSN: "nats://" + g.addr}), open(t, oncenats.Config{DSN: n.dsn()})
	for _, share := range []time.Duration{time.Hour, 10 * time.Millisecond} {
		c, long := leased(t, other), newClaim()
		s.ShareFor(0)
		ok(t, second(s.Load(t.Context(), c.Key)))
		s.ShareFor(share)
		wins(t, other, long)
		began := time.Now()
		g.expect(3) // two of the first load, at least one of the second
		first := make(chan once.State, 1)
		go func() {
			rec, err := s.Load(t.Context(), c.Key)
			if err != nil {
				t.Error(err)
			}
			first <- rec.State
		}()
		eventually(t, "the first load has asked", func() bool { return g.count() == 2 })
		eventually(t, "the lease is over", func() bool {
			rec, err := other.Load(t.Context(), c.Key)
			return err == nil && rec.State == once.InDoubt
		})
		if share < time.Second {
			const unsure = 100 * time.Millisecond
			passed := time.Since(began)
			if rec, err := s.Load(t.Context(), long.Key); err != nil || rec.Lease > long.Lease-passed+unsure {
				t.Errorf("after %v, of a lease of %v %v is left; error %v", passed, long.Lease, rec.Lease, err)
			}
		}
		rec, err := s.Load(t.Context(), c.Key)
		if err != nil || rec.State != once.InDoubt {
			t.Errorf("load after the end of the lease: got %v, error %v, want in-doubt", rec.State, err)
		}
		if got := <-first; got != once.InFlight && got != once.InDoubt {
			t.Errorf("the first load: got %v", got)
		}
	}
}

// The time may be told long after the record was read. If the owner has renewed the lease between, the
// operation was never in doubt.
func TestTimeFromAfterTheRecordWasReadPutsNothingInDoubt(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	g := newGate(t, n.addr())
	s, owner := open(t, oncenats.Config{DSN: "nats://" + g.addr}), open(t, oncenats.Config{DSN: n.dsn()})
	for verb, run := range map[string]func(once.Key) (once.Record, error){
		"load":  func(k once.Key) (once.Record, error) { return s.Load(t.Context(), k) },
		"claim": func(k once.Key) (once.Record, error) { return s.Claim(t.Context(), claimOn(k)) },
	} {
		s.Settle()
		c := leased(t, owner)
		ends := time.Now().Add(c.Lease)
		g.holdBack("STREAM.INFO")
		g.expect(0)
		seen := make(chan once.State, 1)
		go func() {
			rec, err := run(c.Key)
			if err != nil {
				t.Error(err)
			}
			seen <- rec.State
		}()
		eventually(t, "it has asked", func() bool { return s.Unanswered() == 1 && g.count() > 1 })
		ok(t, owner.Renew(t.Context(), c.Key, c.Owner, time.Hour))
		time.Sleep(time.Until(ends))
		g.letGo()
		if got := <-seen; got != once.InFlight {
			t.Errorf("%s: the operation was in flight all the time, and %v was told", verb, got)
		}
	}
}
