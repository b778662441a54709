package oncedisk

import (
	"math"
	"sync/atomic"
	"time"
)

// An instant is a reading of the store's clock in nanoseconds since 1970.
type instant int64

// never is later than every reading of the clock.
const never instant = math.MaxInt64

// plus returns the instant d after t, or never if there is no such instant.
func (t instant) plus(d time.Duration) instant {
	if d >= time.Duration(never-t) {
		return never
	}
	return t + instant(d)
}

// since returns how much time has passed since an earlier instant.
func (t instant) since(earlier instant) time.Duration { return time.Duration(t - earlier) }

// A clock is the store's. It starts at the machine's wall clock when the store is opened, but
// never before the latest instant in the store, and from there on follows the monotonic clock:
// it never goes back, and setting the wall clock of a running machine changes nothing.
type clock struct {
	origin  instant
	started time.Time
	last    atomic.Uint64 // the latest stamp
}

// newClock returns a clock that is never before the latest instant and stamp of the store.
func newClock(latest instant, stamp uint64) *clock {
	started := time.Now()
	c := &clock{origin: max(instant(started.UnixNano()), latest), started: started}
	c.last.Store(stamp)
	return c
}

func (c *clock) now() instant { return c.origin + instant(time.Since(c.started)) }

// stamp returns a number that is larger than every earlier stamp of the store: the clock in
// microseconds, unless that many stamps were made within one. Numbers of microseconds stay exact
// in the floating point numbers that much of the world keeps its integers in.
func (c *clock) stamp(now instant) uint64 {
	for {
		last := c.last.Load()
		next := max(last+1, uint64(now/1000))
		if c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}
