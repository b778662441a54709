package oncenats

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// NeverAskAgain has waits rely on what the server tells.
func (s *Store) NeverAskAgain() { s.firstPause = time.Hour }

// ShareFor sets for how long a question for the time is shared.
func (s *Store) ShareFor(d time.Duration) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.share = d
}

// Settle returns when no question for the time is on its way, which a verb would share.
func (s *Store) Settle() {
	s.clock.mu.Lock()
	asking := s.clock.asking
	s.clock.mu.Unlock()
	<-asking.done
}

// Unanswered returns how many requests are on their way.
func (s *Store) Unanswered() int {
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	return len(s.wire.calls)
}

// CheckStream reports why a stream that is as it should be cannot be kept by so many servers of this
// version.
func CheckStream(version string, replicas int) []error {
	t := Target{Stream: DefaultStream}
	config := t.newStream(Config{Replicas: replicas})
	return stream{jetstream.StreamInfo{Config: config}, version}.check(t)
}

// Disconnected reports whether it is known that there is no connection.
func (s *Store) Disconnected() bool {
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	return !s.wire.up
}
