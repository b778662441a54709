package oncemsg

import (
	"sync"

	"github.com/oncehq/once"
)

// maxTally is of how many messages failures are counted: those that fail at the same time.
const maxTally = 1 << 14

// A tally counts failures in this process, in the modes where a failure leaves no record that could. So a
// message that always fails is poisoned in the end, whether its broker counts deliveries or not; a
// process that starts counts from one. The zero value is ready for use.
type tally struct {
	mu sync.Mutex
	n  map[once.Key]int
}

// failed counts one more failure and returns how many there were.
func (t *tally) failed(k once.Key) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil || len(t.n) >= maxTally {
		t.n = make(map[once.Key]int) // then all begin anew
	}
	t.n[k]++
	return t.n[k]
}

func (t *tally) forget(k once.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.n, k)
}
