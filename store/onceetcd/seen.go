package onceetcd

import (
	"sync"

	"github.com/oncehq/once"
)

// seenMost bounds how many operations are remembered as done, in each of two generations.
const seenMost = 1 << 15

// seen remembers which operations were seen done. Claims of these begin with a read, which one
// member answers when it has heard from the others, while a transaction that might write is
// written to the disks of a majority, even if all that it does is to read. Nothing is decided by
// what is remembered.
type seen struct {
	mu         sync.Mutex
	young, old map[[32]byte]struct{}
}

func (s *seen) note(k once.Key) {
	d := k.Digest()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || len(s.young) >= seenMost {
		s.young, s.old = make(map[[32]byte]struct{}), s.young
	}
	s.young[d] = struct{}{}
}

func (s *seen) has(k once.Key) bool {
	d := k.Digest()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, young := s.young[d]
	_, old := s.old[d]
	return young || old
}
