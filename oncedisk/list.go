package oncedisk

import (
	"context"
	"iter"
	"slices"

	"github.com/oncehq/once"
)

// List implements [once.Lister]. It reads the records' entries from the segments, shard by shard.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		for i := range s.shards {
			if err := s.usable(ctx); err != nil {
				yield(once.Record{}, err)
				return
			}
			if !s.listShard(ctx, &s.shards[i], f, yield) {
				return
			}
		}
	}
}

func (s *Store) listShard(
	ctx context.Context, sh *shard, f once.Filter, yield func(once.Record, error) bool,
) bool {
	slots, claims := sh.snapshot()
	for i := range claims {
		if e := &claims[i]; !s.show(e, f, yield) {
			return false
		}
	}
	for _, at := range slots {
		if err := ctx.Err(); err != nil {
			yield(once.Record{}, err)
			return false
		}
		if more := s.listSlot(sh, at, f, yield); !more {
			return false
		}
	}
	return true
}

// snapshot copies what the shard has: the table's slots in the order of the segments, and the
// claims in memory.
func (sh *shard) snapshot() (slots []slot, claims []entry) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slots = make([]slot, 0, sh.table.count)
	for _, at := range sh.table.slots {
		if at.loc != 0 {
			slots = append(slots, at)
		}
	}
	for _, c := range sh.cells {
		for ; c != nil; c = c.next {
			if c.kind == kindOpen {
				claims = append(claims, c.entry)
			}
		}
	}
	slices.SortFunc(slots, func(a, b slot) int {
		if a.loc < b.loc {
			return -1
		}
		return 1
	})
	return slots, claims
}

// listSlot yields the record that was at the slot. If its segment is gone, the record was carried
// to where its hash leads now.
func (s *Store) listSlot(sh *shard, at slot, f once.Filter, yield func(once.Record, error) bool) bool {
	for {
		r, err := s.read(at.loc)
		if err == nil {
			defer r.free()
			return s.show(&r.entry, f, yield)
		}
		next, claim := sh.follow(at)
		switch {
		case claim != nil:
			return s.show(claim, f, yield)
		case next == at.loc:
			yield(once.Record{}, s.unreadable(at.loc, err))
			return false
		case next == 0:
			return true
		}
		at.loc = next
	}
}

// follow returns where what was at the slot is now, or 0, or the claim that it has become.
func (sh *shard) follow(at slot) (location, *entry) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.table.has(at.hash, at.loc) {
		return at.loc, nil
	}
	for c := sh.cells[at.hash]; c != nil; c = c.next {
		if c.kind == kindOpen {
			claim := c.entry
			return 0, &claim
		}
	}
	if locs := sh.table.find(at.hash, nil); len(locs) > 0 {
		return locs[0], nil
	}
	return 0, nil
}

// show yields the entry's record, less the outcome's data, if the filter selects it.
func (s *Store) show(e *entry, f once.Filter, yield func(once.Record, error) bool) bool {
	now := s.clock.now()
	switch {
	case e.over(now),
		f.Scope != "" && e.key.Scope != f.Scope,
		f.State != 0 && e.state(now) != f.State,
		now.since(e.created) < f.OlderThan:
		return true
	}
	e.outcome.Data = nil
	e.keep(once.Key{})
	return yield(e.record(now), nil)
}
