package onceetcd_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

// Records are listed in steps, whose borders go through records, and each is listed once; and the
// data of large outcomes is not even read.
func TestListGoesThroughManyRecordsInSteps(t *testing.T) {
	t.Parallel()
	cfg := onceetcd.Config{DSN: dsn(servers.Etcd(t, etcd, "--unsafe-no-fsync")), Timeout: 30 * time.Second}
	s, requests := counted(t, cfg)
	const n = 760
	claims := make([]once.Claim, n)
	for i := range claims {
		claims[i] = claimOn(once.Key{Scope: "many", ID: fmt.Sprint(i)})
	}
	want := make(map[once.Key]once.State)
	for i, r := range s.ClaimBatch(t.Context(), claims) {
		ok(t, r.Err)
		c := claims[i]
		want[c.Key] = once.InFlight
		switch i % 7 {
		case 0:
			want[c.Key] = once.InDoubt
			ok(t, s.Renew(t.Context(), c.Key, c.Owner, 0))
		case 1:
			want[c.Key] = once.Done
			ok(t, s.Complete(t.Context(), c.Key, c.Owner, once.Outcome{Data: bytes.Repeat([]byte("x"), 6<<10)}, time.Hour))
		}
	}
	got, err := requests.of(func() error {
		for rec, err := range s.List(t.Context(), once.Filter{Scope: "many"}) {
			if err != nil {
				return err
			}
			if rec.State != want[rec.Key] {
				t.Errorf("listed again, or as %v: %s", rec.State, rec.Key.ID)
			}
			delete(want, rec.Key)
		}
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%d records were not listed; error %v", len(want), err)
	}
	// 1412 keys, at most 500 at a time.
	if got["Txn"] < 3 || got["Txn"] > 4 || got["LeaseTimeToLive"] > 0 {
		t.Errorf("the servers were asked %v", got)
	}
}

// A long list goes on when what it began with is compacted.
func TestListSurvivesCompaction(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd, "--unsafe-no-fsync")
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	claims := make([]once.Claim, 300)
	for i := range claims {
		claims[i] = newClaim()
	}
	for _, r := range s.ClaimBatch(t.Context(), claims) {
		ok(t, r.Err)
	}
	listed := 0
	for _, err := range s.List(t.Context(), once.Filter{}) {
		ok(t, err)
		if listed++; listed == 1 {
			r, err := client.Put(t.Context(), "x", "y")
			ok(t, err)
			ok(t, second(client.Compact(t.Context(), r.Header.Revision)))
		}
	}
	if listed != len(claims) {
		t.Errorf("%d records were listed, want %d", listed, len(claims))
	}
}

// Applications with different prefixes do not see each other's records, and what else there is
// beside the records is not taken for one.
func TestPrefixesKeepRecordsApart(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	shop, other := open(t, onceetcd.Config{DSN: dsn(e) + "/shop"}), open(t, onceetcd.Config{DSN: dsn(e) + "/other"})
	c := newClaim()
	wins(t, shop, c)
	wins(t, other, claimOn(c.Key))
	ok(t, second(raw(t, e).Put(t.Context(), "shop/r/1:x", "not a record")))
	for _, s := range []*onceetcd.Store{shop, other} {
		n := 0
		for _, err := range s.List(t.Context(), once.Filter{}) {
			ok(t, err)
			n++
		}
		if n != 1 {
			t.Errorf("%d records are listed, want 1", n)
		}
	}
}

// A value that has not the form of a record is told apart from one that is not there.
func TestDamagedRecordsAreUnreadable(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd)
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	for _, kind := range []string{"c", "f", "o"} {
		for _, value := range []string{"", "x", "\x01", strings.Repeat("\x01", 50), strings.Repeat("\x01", 18) + "\xff"} {
			c := newClaim()
			wins(t, s, c)
			name := fmt.Sprintf("once/r/%d:%s%d:%s/%s", len(c.Key.Scope), c.Key.Scope, len(c.Key.ID), c.Key.ID, kind)
			ok(t, second(client.Put(t.Context(), name, value)))
			for verb, err := range map[string]error{
				"load":  second(s.Load(t.Context(), c.Key)),
				"claim": second(s.Claim(t.Context(), claimOn(c.Key))),
			} {
				if kind == "o" && len(value) == 50 {
					continue // happens to be one
				}
				if err == nil || !strings.Contains(err.Error(), once.ErrUnreadable.Error()) {
					t.Errorf("%s with the %s key %q: got error %v", verb, kind, value, err)
				}
			}
		}
	}
}
