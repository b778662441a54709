package onceredis_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// With no memory left new operations are refused, and those that have begun go on to their end.
func TestFullServerRefusesOnlyNewClaims(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	warm(t, s)
	a, b, done, doubtful := newClaim(), newClaim(), newClaim(), newClaim()
	for _, c := range []once.Claim{a, b, done, doubtful} {
		wins(t, s, c)
	}
	ok(t, s.Complete(t.Context(), done.Key, done.Owner, result, time.Hour))
	ok(t, s.Renew(t.Context(), doubtful.Key, doubtful.Owner, 0))
	takeover := claimOn(doubtful.Key)
	takeover.Takeover = 10
	r.Command(t, "CONFIG", "SET", "maxmemory", "1000")

	for range 2 {
		if _, err := s.Claim(t.Context(), newClaim()); !errors.Is(err, once.ErrFull) {
			t.Errorf("claim: got error %v, want ErrFull", err)
		}
	}
	for _, res := range s.ClaimBatch(t.Context(), []once.Claim{newClaim(), newClaim()}) {
		if !errors.Is(res.Err, once.ErrFull) {
			t.Errorf("claim of a batch: got error %v, want ErrFull", res.Err)
		}
	}
	if rec, err := s.Claim(t.Context(), claimOn(done.Key)); err != nil || !rec.Outcome.Equal(result) {
		t.Errorf("replay: got %v, error %v", rec.State, err)
	}
	wins(t, s, takeover)
	ok(t, s.Renew(t.Context(), a.Key, a.Owner, time.Hour))
	ended := make(chan error, 1) // with or without a subscription, which Redis 8.6 refuses
	go func() { ended <- s.Wait(t.Context(), a.Key, a.Owner) }()
	eventually(t, "the claim is marked as waited for", func() bool {
		return r.Command(t, "GETRANGE", keyName(a.Key), "1", "1") == "1"
	})
	big := once.Outcome{Data: bytes.Repeat([]byte("x"), 1<<20)}
	ok(t, s.Complete(t.Context(), a.Key, a.Owner, big, time.Hour))
	ok(t, <-ended)
	ok(t, s.Release(t.Context(), b.Key, b.Owner))
	if rec, err := s.Load(t.Context(), a.Key); err != nil || !rec.Outcome.Equal(big) {
		t.Errorf("the outcome that was recorded then: got %v, error %v", rec.State, err)
	}
}

func TestOutcomesThatAreTooLargeAreRefusedUpFront(t *testing.T) {
	t.Parallel()
	s := open(t, onceredis.Config{DSN: dsn(servers.Redis(t)), MaxOutcome: 1000})
	c := newClaim()
	wins(t, s, c)
	for _, out := range []once.Outcome{
		{Data: make([]byte, 1001)},
		{Type: string(make([]byte, 256))},
	} {
		if err := s.Complete(t.Context(), c.Key, c.Owner, out, time.Hour); !errors.Is(err, once.ErrTooLarge) {
			t.Errorf("got error %v, want ErrTooLarge", err)
		}
	}
	largest := once.Outcome{Type: string(make([]byte, 255)), Data: make([]byte, 1000)}
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, largest, time.Hour))
}
