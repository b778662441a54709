package oncenats_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

// Of each verb on the usual path the client sends everything before it hears anything: with the gate
// it would wait for ever otherwise.
func TestEveryVerbIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	g := newGate(t, n.addr())
	s := open(t, oncenats.Config{DSN: "nats://" + g.addr})
	fresh, released, inFlight, done, doubtful, lapsed := newClaim(), newClaim(), newClaim(), newClaim(), newClaim(), newClaim()
	lapsed.Lease = 1
	for _, c := range []once.Claim{released, inFlight, done, doubtful} {
		wins(t, s, c)
	}
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	ok(t, s.Renew(t.Context(), doubtful.Key, doubtful.Owner, 0))
	ok(t, second(s.Claim(t.Context(), lapsed)))
	takeover := claimOn(doubtful.Key)
	takeover.Takeover = 10

	for _, verb := range []struct {
		name     string
		run      func() error
		requests int
	}{
		{"fresh claim", func() error { return second(s.Claim(t.Context(), fresh)) }, 3},
		{"replay", func() error { return second(s.Claim(t.Context(), claimOn(done.Key))) }, 3},
		{"claim in doubt", func() error { return second(s.Claim(t.Context(), claimOn(doubtful.Key))) }, 3},
		{"claim while in flight", func() error { return second(s.Claim(t.Context(), claimOn(inFlight.Key))) }, 3},
		{"load", func() error { return second(s.Load(t.Context(), done.Key)) }, 2},
		{"renew", func() error { return s.Renew(t.Context(), inFlight.Key, inFlight.Owner, time.Hour) }, 1},
		{"complete", func() error {
			return s.Complete(t.Context(), inFlight.Key, inFlight.Owner, result, time.Hour)
		}, 1},
		{"release", func() error { return s.Release(t.Context(), released.Key, released.Owner) }, 1},
	} {
		s.Settle()
		g.expect(verb.requests)
		if err := verb.run(); err != nil {
			t.Fatalf("%s: %v", verb.name, err)
		}
		if got := g.count(); got != verb.requests {
			t.Errorf("%s: %d requests, want %d", verb.name, got, verb.requests)
		}
	}

	for _, verb := range []struct {
		name     string
		run      func() (once.Record, error)
		state    once.State
		requests [2]int // of the first round trip, and of both
	}{
		{"load after the lease", func() (once.Record, error) { return s.Load(t.Context(), lapsed.Key) }, once.InDoubt, [2]int{2, 4}},
		{"claim after the lease", func() (once.Record, error) { return s.Claim(t.Context(), claimOn(lapsed.Key)) }, once.InDoubt, [2]int{3, 5}},
		{"takeover", func() (once.Record, error) { return s.Claim(t.Context(), takeover) }, once.InFlight, [2]int{3, 6}},
	} {
		s.Settle()
		g.expect(verb.requests[0])
		if rec, err := verb.run(); err != nil || rec.State != verb.state {
			t.Errorf("%s: got %v, error %v", verb.name, rec.State, err)
		}
		if got := g.count(); got != verb.requests[1] {
			t.Errorf("%s: %d requests, want %d", verb.name, got, verb.requests[1])
		}
	}
}

func TestClaimBatchTravelsTogether(t *testing.T) {
	t.Parallel()
	g := newGate(t, startMigrated(t).addr())
	s := open(t, oncenats.Config{DSN: "nats://" + g.addr})
	claims := make([]once.Claim, 100)
	for i := range claims {
		claims[i] = newClaim()
	}
	const requests = 2*100 + 1 // all share the question what time it is
	g.expect(requests)
	for i, res := range s.ClaimBatch(t.Context(), claims) {
		if res.Err != nil || !res.Record.Won(claims[i]) {
			t.Fatalf("claim %d: got %v, error %v", i, res.Record.State, res.Err)
		}
	}
	if got := g.count(); got != requests {
		t.Errorf("%d requests, want %d", got, requests)
	}
}

// An owner whose claim was made through another process is read first.
func TestForeignClaimsAreReadFirst(t *testing.T) {
	t.Parallel()
	n := startMigrated(t)
	g := newGate(t, n.addr())
	s, other := open(t, oncenats.Config{DSN: "nats://" + g.addr}), open(t, oncenats.Config{DSN: n.dsn()})
	c := newClaim()
	wins(t, other, c)
	g.expect(2)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	if got := g.count(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}
