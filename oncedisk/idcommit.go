package oncedisk

import (
	"fmt"
	"slices"
	"time"
)

// An idGroup is what is committed at once: the ids that came while the committer was busy.
type idGroup struct {
	ids  []id
	done chan struct{} // closed when they are durable, or not
	err  error         // set before done is closed
}

// idsAtOnce is how many ids are dealt with while others wait for the mutex.
const idsAtOnce = 1024

// maxIDGroup bounds a group, beside the ids of its last call.
const maxIDGroup = 1 << 18

// join adds the ids to the group that will be committed next. The mutex must be held.
func (s *IDs) join(ids []id) *idGroup {
	last := len(s.groups) - 1
	if last < 0 || len(s.groups[last].ids) >= maxIDGroup {
		s.groups = append(s.groups, &idGroup{done: make(chan struct{})})
		last++
	}
	g := s.groups[last]
	g.ids = append(g.ids, ids...)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return g
}

// commitAlways is the committer: it alone writes logs, and changes what is young.
func (s *IDs) commitAlways() {
	var buf []byte
	turn := time.NewTimer(0) // when the youngest bucket is full, even if nobody asks
	defer turn.Stop()
	for closing := false; !closing; {
		select {
		case <-s.wake:
		case <-turn.C:
			s.endBucket()
		case <-s.closing:
			closing = true // nobody joins a group any more
		}
		for g := s.nextGroup(); g != nil; g = s.nextGroup() {
			buf, g.err = s.commit(buf, g.ids)
			close(g.done)
		}
		b := s.youngest()
		if b == nil || s.broken.Load() != nil {
			continue
		}
		turn.Reset(max(time.Duration(b.end-s.clock.now()), time.Millisecond))
		if err := b.log.mark(); err != nil {
			s.fail(err)
		}
	}
}

// nextGroup takes a group from the queue, or returns nil.
func (s *IDs) nextGroup() *idGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.groups) == 0 {
		return nil
	}
	g := s.groups[0]
	s.groups = s.groups[1:]
	return g
}

// youngest returns the bucket that takes ids, or nil.
func (s *IDs) youngest() *idBucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.young); n > 0 && !s.young[n-1].full {
		return s.young[n-1]
	}
	return nil
}

// endBucket ends the youngest bucket if its time is over.
func (s *IDs) endBucket() {
	b := s.youngest()
	if b == nil || s.clock.now() < b.end {
		return
	}
	s.mu.Lock()
	b.full = true
	s.mu.Unlock()
	s.tidySoon()
}

// commit makes the ids durable, and then known as done.
func (s *IDs) commit(buf []byte, ids []id) ([]byte, error) {
	if err := s.broken.Load(); err != nil {
		return buf, *err
	}
	s.endBucket()
	b := s.youngest()
	if b == nil {
		var err error
		if b, err = s.makeBucket(s.clock.now()); err != nil {
			return buf, fmt.Errorf("oncedisk: the ids are not done, since a file for them cannot be made: %w", err)
		}
		s.mu.Lock()
		s.young = append(s.young, b)
		s.mu.Unlock()
	}
	buf, err := b.log.commit(buf, ids, s.step)
	if err != nil {
		return buf, s.fail(err)
	}
	for some := range slices.Chunk(ids, idsAtOnce) {
		s.mu.Lock()
		for _, d := range some {
			b.table.add(d)
			delete(s.claims, d)
		}
		b.disk = b.log.size
		s.mu.Unlock()
	}
	if cap(buf) > 4*maxIDGroup {
		buf = nil
	}
	return buf, nil
}

// fail ends the store: what was being written may be on the disk or not, and a flush that failed
// must not be repeated, since the kernel may have dropped the pages that it could not write.
func (s *IDs) fail(err error) error {
	err = fmt.Errorf("oncedisk: the ids are not acknowledged any more; "+
		"repair the disk and open the store again: %w", err)
	s.broken.CompareAndSwap(nil, &err)
	return *s.broken.Load()
}
