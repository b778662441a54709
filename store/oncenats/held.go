package oncenats

import (
	"sync"

	"github.com/oncehq/once"
)

// maxHeld is how many claims a store remembers at most. There may be more: each verb on one that is
// not remembered takes a round trip more.
const maxHeld = 64 << 10

// held are the claims that were made through this store, as far as it knows: from that it knows
// what to expect when their owners change them. It is never believed without the server's consent.
type held struct {
	mu sync.Mutex
	m  map[once.Key]*entry // of which none is changed
}

func (h *held) put(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.m[e.rec.Key]; last != nil && last.seq > e.seq {
		return
	}
	if len(h.m) >= maxHeld {
		for k := range h.m { // any: those whose owners are gone are never taken out
			delete(h.m, k)
			break
		}
	}
	h.m[e.rec.Key] = e
}

// get returns the claim, or nil.
func (h *held) get(k once.Key, o once.Owner) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.m[k]; e != nil && e.rec.Owner == o {
		return e
	}
	return nil
}

// drop forgets the claim, unless a later one is known.
func (h *held) drop(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m[e.rec.Key] == e {
		delete(h.m, e.rec.Key)
	}
}
