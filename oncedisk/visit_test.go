package oncedisk

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// A record that was given to a caller stays what it is when the buffers it was read into are used
// for others.
func TestRecordsAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		var keys []once.Key
		for range 40 {
			keys = append(keys, w.claim(w.key(), 0).Key)
		}
		time.Sleep(time.Hour)
		w.killed(func() {
			loaded, claimed := make([]once.Record, len(keys)), make([]once.Record, len(keys))
			for i, k := range keys {
				var err, refused error
				loaded[i], err = w.s.Load(t.Context(), k)
				claimed[i], refused = w.s.Claim(t.Context(), once.Claim{Key: k, Owner: once.NewOwner(), Lease: time.Hour})
				if err != nil || refused != nil {
					t.Fatal(err, refused)
				}
			}
			for i, k := range keys {
				if loaded[i].Key != k || claimed[i].Key != k {
					t.Fatalf("the record of %q has become that of %q, and for a claim that of %q",
						k.ID, loaded[i].Key.ID, claimed[i].Key.ID)
				}
			}
		})
	})
}

// oneShard gives each key of a writer a hash of its own, all of one shard.
func oneShard(k once.Key) uint64 {
	hash := uint64(1)
	for _, b := range []byte(k.ID) {
		hash = hash*31 + uint64(b)
	}
	return hash << 8
}

func TestWaitsThatWereGivenUpHoldNoMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &writer{T: t, s: small.on(t, newMemory(), oneShard)}
		for range 200 {
			c := w.claim(w.key(), 0)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			w.s.Wait(ctx, c.Key, c.Owner)
			cancel()
		}
		last := w.claim(w.key(), 0)
		over := make(chan error)
		go func() { over <- w.s.Wait(t.Context(), last.Key, last.Owner) }()
		time.Sleep(time.Hour) // all are in doubt
		for range 200 {
			c := w.claim(w.key(), 0)
			w.complete(c, 0, time.Hour)
			w.claim(w.key(), 0)
			time.Sleep(2 * time.Second)
		}
		if n := len(w.s.shards[0].cells); n > 2*fewCells {
			t.Errorf("%d claims are in memory, of which nobody asks about more than one", n)
		}
		w.s.Release(t.Context(), last.Key, last.Owner)
		if err := <-over; err != nil {
			t.Errorf("the wait of the one ended with %v", err)
		}
	})
}

// A claim that is over may stay in memory until after its segment is gone, if a verb that wanted
// to change it did not.
func TestClaimsInMemoryOutlastTheirSegment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &writer{T: t, s: small.on(t, newMemory(), oneShard)}
		c := w.claim(w.key(), time.Second)
		seg := w.s.log.number()
		held, err := w.s.owned(t.Context(), c.Key, c.Owner)
		if err != nil {
			t.Fatal(err)
		}
		w.fill(5 * time.Second)
		time.Sleep(time.Minute)
		if w.s.segments.get(seg) != nil {
			t.Fatal("the test is wrong: the segment is still there")
		}
		w.s.abandon(held)
		for range 2 * fewCells {
			w.claim(w.key(), 0)
		}
		w.is(c.Key, 0)
		w.claim(c.Key, 0)
	})
}
