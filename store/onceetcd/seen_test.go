package onceetcd_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

// What this process has completed, or replayed before, is replayed by a read, which is not
// written to the log; and a memory that is out of date is not believed.
func TestRepeatedReplaysWriteNothing(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	s, other, client := open(t, onceetcd.Config{DSN: dsn(e)}), open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	c := newClaim()
	wins(t, s, c)
	ok(t, s.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
	ok(t, second(other.Claim(t.Context(), claimOn(c.Key))))
	ok(t, s.Close()) // so that its leases at hand are not renewed
	index := func() uint64 {
		status, err := client.Status(t.Context(), "http://"+e.Addr)
		ok(t, err)
		return status.RaftIndex
	}
	before := index()
	for range 20 {
		rec, err := other.Claim(t.Context(), claimOn(c.Key))
		if err != nil || !rec.Outcome.Equal(result) {
			t.Fatalf("got the outcome %q, error %v", rec.Outcome.Data, err)
		}
	}
	if n := index() - before; n > 5 { // there may be an entry now and then that is not ours
		t.Errorf("%d entries were written for 20 replays", n)
	}
	ok(t, other.Forget(t.Context(), c.Key, c.Owner))
	again := claimOn(c.Key)
	wins(t, other, again)
	if rec, err := other.Claim(t.Context(), claimOn(c.Key)); err != nil || rec.State != once.InFlight || rec.Owner != again.Owner {
		t.Errorf("got the record %v, error %v, want the new one", rec.State, err)
	}
	ok(t, other.Renew(t.Context(), c.Key, again.Owner, 0))
	taker := claimOn(c.Key)
	taker.Takeover = 2
	wins(t, other, taker)
}
