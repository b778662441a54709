package oncedisk

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// segments are the files that the store has, by number. Looking one up takes no lock.
type segments struct {
	mu   sync.Mutex
	all  atomic.Pointer[map[uint64]*segment]
	last atomic.Uint64 // the largest number in use; none is used twice
}

func newSegments(list []*segment) *segments {
	all := make(map[uint64]*segment, len(list))
	set := &segments{}
	for _, s := range list {
		all[s.number] = s
		set.last.Store(max(set.last.Load(), s.number))
	}
	set.all.Store(&all)
	return set
}

// number returns one that was never used before.
func (set *segments) number() uint64 { return set.last.Add(1) }

func (set *segments) get(number uint64) *segment { return (*set.all.Load())[number] }

func (set *segments) add(s *segment) { set.change(func(all map[uint64]*segment) { all[s.number] = s }) }

func (set *segments) remove(s *segment) {
	set.change(func(all map[uint64]*segment) { delete(all, s.number) })
}

func (set *segments) change(f func(map[uint64]*segment)) {
	set.mu.Lock()
	defer set.mu.Unlock()
	all := maps.Clone(*set.all.Load())
	f(all)
	set.all.Store(&all)
}

// list returns the segments by number.
func (set *segments) list() []*segment {
	all := *set.all.Load()
	list := slices.Collect(maps.Values(all))
	slices.SortFunc(list, func(a, b *segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return list
}

// between reports whether there is a segment from the number first up to before the number end.
func (set *segments) between(first, end uint64) bool {
	if first == 0 || first >= end {
		return false
	}
	for number := range *set.all.Load() {
		if number >= first && number < end {
			return true
		}
	}
	return false
}
