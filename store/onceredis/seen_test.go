package onceredis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// What a process remembers of done records decides nothing.
func TestOutdatedMemoryOfADoneRecordIsNotBelieved(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, other := open(t, onceredis.Config{DSN: dsn(r)}), open(t, onceredis.Config{DSN: dsn(r)})
	for name, change := range map[string]struct {
		what func(c once.Claim)
		want once.State // of the next claim; in flight: it wins
	}{
		"forgotten": {func(c once.Claim) {
			ok(t, other.Forget(t.Context(), c.Key, c.Owner))
		}, once.InFlight},
		"damaged": {func(c once.Claim) { r.Command(t, "SET", keyName(c.Key), "x") }, 0},
		"expired": {func(c once.Claim) { r.Command(t, "PEXPIRE", keyName(c.Key), "0") }, once.InFlight},
		"done again": {func(c once.Claim) {
			ok(t, other.Forget(t.Context(), c.Key, c.Owner))
			again := claimOn(c.Key)
			wins(t, other, again)
			ok(t, other.Complete(t.Context(), c.Key, again.Owner, once.Outcome{Data: []byte("again")}, time.Minute))
		}, once.Done},
		"in doubt": {func(c once.Claim) {
			ok(t, other.Forget(t.Context(), c.Key, c.Owner))
			again := claimOn(c.Key)
			wins(t, other, again)
			ok(t, other.Renew(t.Context(), c.Key, again.Owner, 0))
		}, once.InDoubt},
	} {
		c := newClaim()
		wins(t, s, c)
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
		if rec, err := s.Claim(t.Context(), claimOn(c.Key)); err != nil || !rec.Outcome.Equal(result) {
			t.Fatalf("%s: before: got %v, error %v", name, rec.State, err)
		}
		change.what(c)
		want, err := other.Load(t.Context(), c.Key)
		if err != nil {
			want = once.Record{}
		}
		rec, err := s.Claim(t.Context(), claimOn(c.Key))
		if rec.State != change.want || (change.want == 0) != errors.Is(err, once.ErrUnreadable) {
			t.Errorf("%s: got %v, error %v, want %v", name, rec.State, err, change.want)
		}
		if rec.State == once.Done && (!rec.Outcome.Equal(want.Outcome) || rec.Retention > time.Minute) {
			t.Errorf("%s: got the outcome %q for %v", name, rec.Outcome.Data, rec.Retention)
		}
	}
}

func TestReplayFromMemoryIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s, other := open(t, onceredis.Config{DSN: dsn(r)}), open(t, onceredis.Config{DSN: dsn(r)})
	for _, retention := range []time.Duration{time.Hour, once.Forever} {
		c := newClaim()
		wins(t, s, c)
		ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, retention))
		want, err := other.Load(t.Context(), c.Key)
		ok(t, err)
		got, err := s.Claim(t.Context(), claimOn(c.Key))
		ok(t, err)
		if got.Retention > retention || got.Retention < retention-time.Minute {
			t.Errorf("of a retention of %v %v is left", retention, got.Retention)
		}
		if !got.Outcome.Equal(want.Outcome) || got.Owner != want.Owner || got.Fence != want.Fence ||
			got.Attempt != want.Attempt || !got.Created.Equal(want.Created) || got.Fingerprint != want.Fingerprint {
			t.Errorf("got %+v, want %+v", got, want)
		}
		other := claimOn(c.Key)
		other.Fingerprint = once.FingerprintOf([]byte("something else"))
		if rec, err := s.Claim(t.Context(), other); !errors.Is(err, once.ErrMismatch) || rec.State != 0 {
			t.Errorf("another fingerprint: got %v, error %v", rec.State, err)
		}
	}
}

// The outcome was recorded by a try whose reply was lost, and its retention counts from then.
func TestRepeatedCompleteDoesNotProlongTheRetention(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	c := newClaim()
	wins(t, s, c)
	ok(t, open(t, onceredis.Config{DSN: dsn(r)}).Complete(t.Context(), c.Key, c.Owner, result, time.Minute))
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	for range 2 {
		rec, err := s.Claim(t.Context(), claimOn(c.Key))
		if err != nil || rec.Retention > time.Minute {
			t.Errorf("of a retention of a minute %v is left, error %v", rec.Retention, err)
		}
	}
}

// Keys must not push each other out of this process's memory long before it is full.
func TestReplaysOfManyKeysArePlainReads(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	const keys, scripts = 600, 20 // at most: chance brings five or more of them into one set now and then
	claims := make([]once.Claim, keys)
	for i := range claims {
		claims[i] = newClaim()
		wins(t, s, claims[i])
		ok(t, s.Complete(t.Context(), claims[i].Key, claims[i].Owner, result, time.Hour))
	}
	r.Command(t, "CONFIG", "RESETSTAT")
	for range 2 {
		for _, c := range claims {
			if rec, err := s.Claim(t.Context(), claimOn(c.Key)); err != nil || !rec.Outcome.Equal(result) {
				t.Fatalf("got %v, error %v", rec.State, err)
			}
		}
	}
	if got := asked(t, r); got["evalsha"] > scripts || got["getex"] < 2*keys {
		t.Errorf("%d replays: the server was told %v, want at most %d scripts", 2*keys, got, scripts)
	}
}
