package oncedisk

import (
	"math/bits"
	"sync/atomic"
)

// A tally counts what in a segment is alive. It tells when the segment as a whole can be deleted,
// and when it is worth carrying what is alive elsewhere, without looking at the entries.
//
// It errs on the side of life: by up to a fifth of an entry's lifetime.
type tally struct {
	held    atomic.Int64             // bytes of claims and records that nothing but a verb ends
	expires [tallySpans]atomic.Int64 // bytes alive until the end of the span
	claims  atomic.Int64             // claims among those in expires
	until   atomic.Int64             // instant when the last of the done records is over

	// first is the lowest of the entries' first segments, or 0: none is before its own.
	first atomic.Uint64

	// gone is the latest instant until which an entry of kind gone is needed in any case.
	gone atomic.Int64
}

// Spans of time are counted from the creation of the segment; they double every four spans.
const (
	tallySpans = 4 * 34  // the last one, from 128 years on, never ends
	tallyUnit  = 1 << 26 // of nanoseconds: 67 ms
)

// span returns the number of the span in which an instant lies that is so far from the start.
func span(d instant) int {
	v := uint64(max(d, 0))/tallyUnit + 4
	n := bits.Len64(v) // at least 3
	return min(4*(n-3)+int(v>>(n-3)&3), tallySpans-1)
}

// spanEnd returns when the span is over, counted from the start.
func spanEnd(n int) instant {
	if n >= tallySpans-1 {
		return never
	}
	exp, frac := n/4, n%4
	end := (uint64(frac) + 5) << exp // first v of the next span
	return instant(end-4) * tallyUnit
}

// add counts an entry, open or done, of so many bytes. A negative size takes one out again.
func (s *segment) add(e *entry, size int64) {
	expiry := e.expiry()
	switch {
	case expiry == never:
		s.held.Add(size)
		return
	case e.kind == kindOpen && size > 0:
		s.claims.Add(1)
	case e.kind == kindOpen:
		s.claims.Add(-1)
	default:
		raise(&s.until, int64(expiry))
	}
	s.expires[span(expiry-s.created)].Add(size)
}

// shield notes that an entry keeps earlier ones from being believed.
func (s *segment) shield(e *entry) {
	if e.kind == kindGone {
		raise(&s.gone, int64(e.until))
	}
	if e.first == 0 || e.first >= s.number {
		return
	}
	for {
		old := s.first.Load()
		if old != 0 && old <= e.first || s.first.CompareAndSwap(old, e.first) {
			return
		}
	}
}

func raise(a *atomic.Int64, to int64) {
	for {
		old := a.Load()
		if old >= to || a.CompareAndSwap(old, to) {
			return
		}
	}
}

// alive bounds the bytes that are alive at the time.
func (s *segment) alive(now instant) int64 {
	sum := s.held.Load()
	for n := range s.expires {
		if v := s.expires[n].Load(); v != 0 && spanEnd(n).after(now, s.created) {
			sum += v
		}
	}
	return sum
}

// after reports whether the end of a span that started at the creation is after now.
func (t instant) after(now, created instant) bool { return t == never || created+t > now }

// dead reports whether nothing in the segment is alive.
func (s *segment) dead(now instant) bool {
	if s.held.Load() > 0 || instant(s.until.Load()) > now {
		return false
	}
	return s.claims.Load() == 0 || s.alive(now) == 0
}

// due returns the next time at which more of the segment is dead, or never.
func (s *segment) due(now instant) instant {
	next := never
	if until := instant(s.until.Load()); until > now && s.held.Load() == 0 {
		next = until
	}
	for n := range s.expires {
		if s.expires[n].Load() == 0 {
			continue
		}
		if end := spanEnd(n); end != never && s.created+end > now {
			return min(next, s.created+end)
		}
	}
	return next
}
