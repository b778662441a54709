package oncenats

import "time"

// NeverAskAgain has waits rely on what the server tells.
func (s *Store) NeverAskAgain() { s.firstPause = time.Hour }

// Settle returns when no question for the time is on its way, which a verb would share.
func (s *Store) Settle() {
	s.clock.mu.Lock()
	asking := s.clock.asking
	s.clock.mu.Unlock()
	<-asking.done
}
