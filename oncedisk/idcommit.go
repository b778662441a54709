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
			if s.full.Load() != nil {
				s.roomFor(1)
			}
		case <-s.closing:
			closing = true // nobody joins a group any more
		}
		for g := s.nextGroup(); g != nil; g = s.nextGroup() {
			buf, g.err = s.commit(buf, g.ids)
			close(g.done)
		}
		turn.Reset(s.rest())
	}
}

// rest marks what was committed, and returns for how long there is nothing to do unless somebody
// asks.
func (s *IDs) rest() time.Duration {
	wait := time.Hour
	if s.full.Load() != nil {
		wait = keepRetry
	}
	b := s.youngest()
	if b == nil || s.broken.Load() != nil {
		return wait
	}
	if err := b.log.mark(); err != nil {
		s.fail(err)
	}
	return max(min(time.Duration(b.end-s.clock.now()), wait), time.Millisecond)
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

// commit makes the ids durable, and then known as done. If the disk took so long that the bucket's
// time was over meanwhile, the next one has to remember them too: the window counts from the
// acknowledgement. Buckets shorter than two flushes in a row are beyond help.
func (s *IDs) commit(buf []byte, ids []id) ([]byte, error) {
	if err := s.broken.Load(); err != nil {
		return buf, *err
	}
	for late := false; ; late = true {
		b, err := s.roomFor(len(ids))
		if err != nil {
			return buf, err
		}
		buf, err = b.log.commit(buf, ids)
		if err != nil {
			return buf, s.fail(err)
		}
		s.known(b, ids)
		if late || s.clock.now() < b.end {
			break
		}
	}
	if cap(buf) > 4*maxIDGroup {
		buf = nil
	}
	return buf, nil
}

// known makes ids that are durable in the bucket's log known as done.
func (s *IDs) known(b *idBucket, ids []id) {
	for some := range slices.Chunk(ids, idsAtOnce) {
		s.mu.Lock()
		for _, d := range some {
			b.table.add(d)
			delete(s.claims, d)
		}
		b.disk = b.log.size
		s.mu.Unlock()
	}
}

// roomFor returns the bucket that takes ids, with room in its log for so many. Where there is not
// half a step more, and no more to be had, claims are refused from then on: that room is kept for
// what is claimed already.
func (s *IDs) roomFor(ids int) (*idBucket, error) {
	s.endBucket()
	b := s.youngest()
	if b == nil {
		made, err := s.makeBucket(s.clock.now())
		if err != nil {
			return nil, s.exhaust(err)
		}
		b = made
		s.mu.Lock()
		s.young = append(s.young, b)
		s.mu.Unlock()
	}
	if err := b.log.reserve(ids, s.step/2, s.step); err != nil {
		if err = s.exhaust(err); b.log.frameEnd(ids) > b.log.size {
			return nil, err
		}
		return b, nil
	}
	s.full.Store(nil)
	return b, nil
}

// exhaust says that there is no room for the time being. Nothing was written but zeros, so that
// the store can go on when there is.
func (s *IDs) exhaust(err error) error {
	err = fmt.Errorf("oncedisk: there is no room for more ids; free some space and try again: %w", err)
	if s.full.Swap(&err) == nil {
		s.cfg.Log.Error("oncedisk: claims of ids are refused, since the log cannot grow", "dir", s.cfg.Dir, "err", err)
	}
	return err
}

// fail ends the store: what was being written may be on the disk or not, and a flush that failed
// must not be repeated, since the kernel may have dropped the pages that it could not write.
func (s *IDs) fail(err error) error {
	err = fmt.Errorf("oncedisk: the ids are not acknowledged any more; "+
		"repair the disk and open the store again: %w", err)
	s.broken.CompareAndSwap(nil, &err)
	return *s.broken.Load()
}
