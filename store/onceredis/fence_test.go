package onceredis_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

// The clock from which fences come counts microseconds, and a server can carry out several
// verbs in a few of them: claims that follow each other as fast as can be differ all the same,
// and grow for each caller.
func TestFencesNeverRepeat(t *testing.T) {
	t.Parallel()
	s := open(t, onceredis.Config{DSN: dsn(servers.Redis(t, "appendonly no"))})
	k := newClaim().Key
	const callers, wins = 32, 20
	won := make([][]uint64, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for len(won[i]) < wins {
				c := claimOn(k)
				rec, err := s.Claim(t.Context(), c)
				if err != nil {
					t.Error(err)
					return
				}
				if !rec.Won(c) {
					continue
				}
				won[i] = append(won[i], rec.Fence)
				if err := s.Release(t.Context(), k, c.Owner); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, fences := range won {
		if !slices.IsSorted(fences) {
			t.Error("the fences of one caller do not grow")
		}
	}
	all := slices.Concat(won...)
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != callers*wins {
		t.Errorf("%d claims have won, with %d fences", len(all), n)
	}
}

// A server's clock that is behind the last fence does not let the next one be smaller.
func TestFenceGrowsThoughTheClockDoesNot(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	c := newClaim()
	first := wins(t, s, c)
	ok(t, s.Renew(t.Context(), c.Key, c.Owner, 0))
	// The record as it were if the clock had been an hour ahead then: offset 62, see layout.go.
	const fence = "\x00\x1f\xff\xff\x00\x00\x00\x00"
	r.Command(t, "SETRANGE", keyName(c.Key), "62", fence)
	next := claimOn(c.Key)
	next.Takeover = 2
	if rec := wins(t, s, next); rec.Fence != 0x1fffff00000001 || rec.Fence <= first.Fence {
		t.Errorf("the fence after %x is %x", 0x1fffff00000000, rec.Fence)
	}
	if rec, err := s.Load(t.Context(), c.Key); err != nil || rec.Fence != 0x1fffff00000001 {
		t.Errorf("the record's fence is %x, error %v", rec.Fence, err)
	}
}
