package oncemem_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// win claims the id, which must succeed.
func win(t *testing.T, s *oncemem.Store, id string) once.Claim {
	t.Helper()
	c := newClaim(id)
	rec, err := s.Claim(t.Context(), c)
	if err != nil || !rec.Won(c) {
		t.Fatalf("claim of %s: got a record %v and error %v, want to win", id, rec.State, err)
	}
	return c
}

func complete(t *testing.T, s *oncemem.Store, c once.Claim, size int, retention time.Duration) {
	t.Helper()
	out := once.Outcome{Data: make([]byte, size)}
	if err := s.Complete(t.Context(), c.Key, c.Owner, out, retention); err != nil {
		t.Fatalf("complete: %v", err)
	}
}

func refused(t *testing.T, s *oncemem.Store, id string) {
	t.Helper()
	if rec, err := s.Claim(t.Context(), newClaim(id)); !errors.Is(err, once.ErrFull) {
		t.Fatalf("claim of %s: got a record %v and error %v, want ErrFull", id, rec.State, err)
	}
}

func state(t *testing.T, s *oncemem.Store, id string) once.State {
	t.Helper()
	rec, err := s.Load(t.Context(), newClaim(id).Key)
	if err != nil && !errors.Is(err, once.ErrNotFound) {
		t.Fatal(err)
	}
	return rec.State
}

func TestFullStoreRefusesOnlyNewClaims(t *testing.T) {
	s := &oncemem.Store{MaxRecords: 3}
	flying, doubting, done := win(t, s, "flying"), win(t, s, "doubting"), win(t, s, "done")
	if err := s.Renew(t.Context(), doubting.Key, doubting.Owner, 0); err != nil {
		t.Fatal(err)
	}
	complete(t, s, done, 100, time.Hour)
	refused(t, s, "new")

	for id, want := range map[string]once.State{
		"flying": once.InFlight, "doubting": once.InDoubt, "done": once.Done, "new": 0,
	} {
		if got := state(t, s, id); got != want {
			t.Errorf("after a claim was refused %s is %v, want %v", id, got, want)
		}
	}
	if rec, err := s.Claim(t.Context(), newClaim("done")); err != nil || rec.State != once.Done {
		t.Errorf("a full store replays a record %v with error %v, want one that is done", rec.State, err)
	}
	other := newClaim("doubting")
	other.Owner = once.NewOwner()
	if rec, err := s.Claim(t.Context(), other); err != nil || !rec.Won(other) {
		t.Errorf("a full store lets nobody take over: got a record %v and error %v", rec.State, err)
	}
	complete(t, s, flying, 100, time.Hour)

	if err := s.Release(t.Context(), other.Key, other.Owner); err != nil {
		t.Fatal(err)
	}
	win(t, s, "new")
	refused(t, s, "another")
}

func TestFullStoreDropsWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &oncemem.Store{MaxRecords: 10}
		for n := range 9 {
			complete(t, s, win(t, s, fmt.Sprint(n)), 0, time.Minute)
		}
		win(t, s, "flying")
		refused(t, s, "new")
		time.Sleep(time.Minute)
		for n := range 9 {
			win(t, s, fmt.Sprint("new ", n))
		}
		refused(t, s, "another")

		// Claims that may be forgotten, and that nobody completes, do not fill the store for ever.
		time.Sleep(25 * time.Hour)
		for n := range 10 {
			win(t, s, fmt.Sprint("last ", n))
		}
	})
}

func TestMaxBytesBoundsKeysAndOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &oncemem.Store{MaxBytes: 10_000}
		late := win(t, s, "late")
		for n := 0; ; n++ {
			c := newClaim(fmt.Sprint(n))
			if _, err := s.Claim(t.Context(), c); errors.Is(err, once.ErrFull) {
				if n < 5 || n > 9 {
					t.Errorf("%d outcomes of 1000 bytes fit into 10000, want 5 to 9", n)
				}
				break
			}
			complete(t, s, c, 1000, time.Minute)
		}

		// What has happened is recorded, bound or not.
		complete(t, s, late, 20_000, time.Hour)
		if got := state(t, s, "late"); got != once.Done {
			t.Fatalf("an operation that was claimed in time is %v, want done", got)
		}
		time.Sleep(2 * time.Minute)
		refused(t, s, "new")
		time.Sleep(time.Hour)
		win(t, s, "new")
	})
}

func TestMemoryIsGivenBackByTheClaimsThatFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4000
		s := new(oncemem.Store)
		for _, id := range ids(n) {
			complete(t, s, win(t, s, "old "+id), 100, time.Minute)
		}
		time.Sleep(time.Minute)
		for _, id := range ids(n) {
			win(t, s, "new "+id)
		}
		if records, _ := s.Held(); records != n {
			t.Errorf("%d records are held, want the %d new ones", records, n)
		}
	})
}

func TestSweepGivesMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4000
		s := new(oncemem.Store)
		for i, id := range ids(n) {
			complete(t, s, win(t, s, id), 100, time.Duration(1+i%2)*time.Minute)
		}
		time.Sleep(time.Minute)
		if swept, err := s.Sweep(t.Context()); swept != n/2 || err != nil {
			t.Errorf("sweep removed %d records with error %v, want %d", swept, err, n/2)
		}
		if swept, err := s.Sweep(t.Context()); swept != 0 || err != nil {
			t.Errorf("the next sweep removed %d records with error %v, want none", swept, err)
		}
		if records, _ := s.Held(); records != n/2 {
			t.Errorf("%d records are held, want %d", records, n/2)
		}
	})
}

func TestRecordsGivenOutKeepTheirKey(t *testing.T) {
	s := new(oncemem.Store)
	first := win(t, s, "first")
	for listed, err := range s.List(t.Context(), once.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		// The memory in which the store has the key is now used for another.
		if err := s.Release(t.Context(), first.Key, first.Owner); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids(1000) {
			win(t, s, id[len(id)-len("first"):])
		}
		if listed.Key != first.Key {
			t.Errorf("the key of a record changed from %q to %q", first.Key, listed.Key)
		}
		break
	}
}
