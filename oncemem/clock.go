package oncemem

import (
	"math"
	"time"
)

// An instant is a reading of a store's clock: nanoseconds since the store was first used. It
// comes from the monotonic clock, so that setting the machine's clock changes nothing.
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

// until returns how long after t the instant end is: negative if before, Forever if never.
func (t instant) until(end instant) time.Duration {
	if end == never {
		return time.Duration(never)
	}
	return time.Duration(end - t)
}

func (s *Store) now() instant { return instant(time.Since(s.start)) }

// wall returns t in the terms of people.
func (s *Store) wall(t instant) time.Time { return s.start.Add(time.Duration(t)).Round(0) }

// micros returns t in microseconds since 1970: larger than any fence that an earlier process
// handed out, as long as nobody set the machine's clock back between the two.
func (s *Store) micros(t instant) uint64 { return uint64(s.start.UnixMicro() + int64(t)/1000) }
