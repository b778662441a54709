package onceredis_test

import (
	"maps"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// calls of a script, by what it does on the server.
type calls map[string]int

// Each verb is one EVALSHA, which is one round trip, and what the script calls is what it says. A
// replay of what this process has seen done is a plain read.
func TestEveryVerbIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, other := open(t, onceredis.Config{DSN: dsn(r)}), open(t, onceredis.Config{DSN: dsn(r)})
	warm(t, s)
	inFlight, doubtful, done := newClaim(), newClaim(), newClaim()
	for _, c := range []once.Claim{inFlight, doubtful, done} {
		wins(t, s, c)
	}
	ok(t, s.Renew(t.Context(), doubtful.Key, doubtful.Owner, 0))
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	takeover := claimOn(doubtful.Key)
	takeover.Takeover = 10

	for _, verb := range []struct {
		name string
		run  func() error
		want calls
	}{
		{"claim of an absent key", func() error { return second(s.Claim(t.Context(), newClaim())) },
			calls{"evalsha": 1, "pttl": 1, "time": 1, "set": 1}},
		{"first replay", func() error { return second(other.Claim(t.Context(), claimOn(done.Key))) },
			calls{"evalsha": 1, "pttl": 1, "getex": 1}},
		{"second replay", func() error { return second(other.Claim(t.Context(), claimOn(done.Key))) },
			calls{"getex": 1}},
		{"replay of what was completed here", func() error { return second(s.Claim(t.Context(), claimOn(done.Key))) },
			calls{"getex": 1}},
		{"claim while in flight", func() error { return second(s.Claim(t.Context(), claimOn(inFlight.Key))) },
			calls{"evalsha": 1, "pttl": 1, "getex": 1, "time": 1}},
		{"takeover", func() error { return second(s.Claim(t.Context(), takeover)) },
			calls{"evalsha": 1, "pttl": 1, "getex": 1, "time": 1, "set": 1}},
		{"renew", func() error { return s.Renew(t.Context(), inFlight.Key, inFlight.Owner, time.Hour) },
			calls{"evalsha": 1, "getex": 1, "time": 1, "set": 1}},
		{"load", func() error { return second(s.Load(t.Context(), done.Key)) },
			calls{"evalsha": 1, "pttl": 1, "getex": 1}},
		{"complete", func() error {
			return s.Complete(t.Context(), inFlight.Key, inFlight.Owner, result, time.Hour)
		}, calls{"evalsha": 1, "getex": 1, "set": 1}},
		{"release", func() error { return s.Release(t.Context(), takeover.Key, takeover.Owner) },
			calls{"evalsha": 1, "getex": 1, "del": 1}},
		{"forget", func() error { return s.Forget(t.Context(), done.Key, done.Owner) },
			calls{"evalsha": 1, "getex": 1, "del": 1}},
	} {
		r.Command(t, "CONFIG", "RESETSTAT")
		if err := verb.run(); err != nil {
			t.Fatalf("%s: %v", verb.name, err)
		}
		if got := asked(t, r); !maps.Equal(got, verb.want) {
			t.Errorf("%s: the server was told %v, want %v", verb.name, got, verb.want)
		}
	}
}

func TestClaimBatchTravelsTogether(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	warm(t, s)
	claims := make([]once.Claim, 100)
	for i := range claims {
		claims[i] = newClaim()
	}
	before := info(t, r, "stats", "total_reads_processed")
	for i, res := range s.ClaimBatch(t.Context(), claims) {
		if res.Err != nil || !res.Record.Won(claims[i]) {
			t.Fatalf("claim %d: got %v, error %v", i, res.Record.State, res.Err)
		}
	}
	// The server reads 16 KiB at a time, and its own INFO and a PING may be among them.
	if n := info(t, r, "stats", "total_reads_processed") - before; n > 20 {
		t.Errorf("the server had to read %v times for 100 claims", n)
	}
}

// A server that was restarted has forgotten the scripts. It is told again.
func TestScriptsAreSentWhenTheServerHasForgottenThem(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	c := newClaim()
	for _, verb := range []func() error{
		func() error { return second(s.Claim(t.Context(), c)) },
		func() error { return s.Renew(t.Context(), c.Key, c.Owner, time.Hour) },
		func() error { return second(s.Load(t.Context(), c.Key)) },
		func() error { return s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour) },
		func() error { return s.Forget(t.Context(), c.Key, c.Owner) },
		func() error { return s.ClaimBatch(t.Context(), []once.Claim{c})[0].Err },
		func() error { return s.Release(t.Context(), c.Key, c.Owner) },
	} {
		r.Command(t, "SCRIPT", "FLUSH")
		ok(t, verb())
	}
}

// Nobody pays for telling waiters if there are none.
func TestNothingIsPublishedWithoutWaiters(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	warm(t, s)
	if n := r.Calls(t)["publish"]; n != 0 {
		t.Errorf("%d messages were published", n)
	}
}

// asked returns what the server was told, less what this test asks, and what making a connection takes.
func asked(t *testing.T, r *servers.RedisServer) calls {
	t.Helper()
	got := calls(r.Calls(t))
	for _, other := range []string{"ping", "info", "config", "config|resetstat", "hello", "client|setinfo"} {
		delete(got, other)
	}
	return got
}

// warm lets the server know all scripts.
func warm(t *testing.T, s *onceredis.Store) {
	t.Helper()
	c := newClaim()
	for range 2 {
		wins(t, s, c)
		ok(t, s.Renew(t.Context(), c.Key, c.Owner, time.Hour))
		ok(t, s.Release(t.Context(), c.Key, c.Owner))
	}
	wins(t, s, c)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, second(s.Load(t.Context(), c.Key)))
	ok(t, s.Forget(t.Context(), c.Key, c.Owner))
}
