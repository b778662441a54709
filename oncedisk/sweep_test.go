package oncedisk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// endsLater is a context that is done when it was asked so often.
type endsLater struct {
	context.Context
	asked int
}

func (c *endsLater) Err() error {
	if c.asked--; c.asked < 0 {
		return context.Canceled
	}
	return nil
}

// A caller that breaks off a sweep must not keep the store from sweeping by itself.
func TestExpiryGoesOnAfterASweepThatWasBrokenOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(t)
		for range 10 {
			w.fill(time.Minute)
		}
		time.Sleep(30 * time.Second)
		if _, err := w.s.Sweep(&endsLater{t.Context(), 3}); !errors.Is(err, context.Canceled) {
			t.Fatalf("sweep: error %v, want that it was broken off", err)
		}
		w.complete(w.claim(w.key(), 0), 10, 24*time.Hour)
		time.Sleep(time.Hour)
		if n := len(w.s.segments.list()); n > 3 {
			t.Errorf("%d segments are left of what is over", n)
		}
	})
}
