package oncedisk

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
)

// The hints that are written when a store is closed must not leave out what is durable and not yet
// in the index, since its verb has not got round to that.
func TestClosingForgetsNoVerbThatIsAboutToReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		c := once.Claim{Key: w.key(), Owner: once.NewOwner(), Lease: time.Hour}
		cell, _, err := w.s.contest(t.Context(), &c, true)
		if err != nil {
			t.Fatal(err)
		}
		next := w.s.assign(cell, &c)
		ticket, err := w.s.enqueue(t.Context(), cell, &next)
		if err != nil {
			t.Fatal(err)
		}
		w.fill(time.Hour)
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.s.await(t.Context(), cell, &next, ticket); err != nil {
			t.Fatal(err) // now the claim is acknowledged
		}
		w.s = small.on(t, w.s.vol, nil)
		w.is(c.Key, once.InFlight)
	})
}
