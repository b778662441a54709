package oncedisk

import (
	"context"
	"errors"
	"slices"

	"github.com/oncehq/once"
)

// visit shows decide the state of the key's record: an entry of kind open or done, or the zero
// entry if there is none. Every state shown is durable. If decide returns true, visit returns the
// record's cell, busy for the caller, who must change it or let it rest. Else the cell is nil.
//
// decide may be called with the shard locked and must not block; the entry is valid during the
// call only, unless it is kept.
func (s *Store) visit(ctx context.Context, k once.Key, decide func(e *entry, now instant) bool) (*cell, error) {
	return s.look(ctx, k, true, decide)
}

var errBusy = errors.New("another verb is changing the record")

// look is visit, which returns errBusy rather than wait if patient is false.
func (s *Store) look(
	ctx context.Context, k once.Key, patient bool, decide func(e *entry, now instant) bool,
) (*cell, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	hash := s.hashKey(k)
	sh := s.shard(hash)
	var stack [4]location
	for {
		sh.mu.Lock()
		if c := sh.cell(hash, k); c != nil {
			if !c.busy {
				return s.visitCell(sh, c, decide), nil
			}
			if !patient {
				sh.mu.Unlock()
				return nil, errBusy
			}
			wake := c.waiting()
			sh.mu.Unlock()
			if err := s.wait(ctx, wake); err != nil {
				return nil, err
			}
			continue
		}
		locs := sh.table.find(hash, stack[:0])
		if len(locs) == 0 {
			c := s.visitAbsent(sh, hash, k, decide)
			sh.mu.Unlock()
			return c, nil
		}
		sh.mu.Unlock()
		c, settled, err := s.visitStored(sh, hash, k, locs, decide)
		if settled || err != nil {
			return c, err
		}
	}
}

// visitCell shows a cell that is not busy. It unlocks the shard.
func (s *Store) visitCell(sh *shard, c *cell, decide func(*entry, instant) bool) *cell {
	defer sh.mu.Unlock()
	now := s.clock.now()
	shown := &c.entry
	if c.over(now) {
		shown = &entry{}
	}
	if !decide(shown, now) {
		return nil
	}
	c.busy = true
	return c
}

// visitAbsent shows that there is nothing, and makes a cell for what is to come.
func (s *Store) visitAbsent(sh *shard, hash uint64, k once.Key, decide func(*entry, instant) bool) *cell {
	now := s.clock.now()
	if !decide(&entry{}, now) {
		return nil
	}
	c := &cell{hash: hash, busy: true}
	c.key = k
	sh.put(c, now)
	return c
}

// visitStored reads what the table has for the hash and shows the record of the key. settled is
// false if the table changed meanwhile.
func (s *Store) visitStored(
	sh *shard, hash uint64, k once.Key, locs []location, decide func(*entry, instant) bool,
) (c *cell, settled bool, err error) {
	r, loc, err := s.readKey(k, locs)
	if err != nil {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.changed(hash, k, locs) {
			return nil, false, nil
		}
		return nil, true, err
	}
	defer r.free()
	now := s.clock.now()
	shown, over := &r.entry, loc != 0 && r.over(now)
	if loc == 0 || over {
		shown = &entry{}
	}
	if !decide(shown, now) {
		return nil, true, nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.changed(hash, k, locs) {
		return nil, false, nil
	}
	c = &cell{hash: hash, busy: true, loc: loc, size: r.size}
	c.key = k
	if loc != 0 && (!over || r.kind == kindOpen) {
		r.keep(k)
		c.entry = r.entry
	}
	if c.kind == kindOpen {
		sh.table.remove(hash, loc)
	}
	sh.put(c, now)
	return c, true, nil
}

// changed reports whether the key has a cell, or the hash no longer exactly these locations.
func (sh *shard) changed(hash uint64, k once.Key, locs []location) bool {
	var stack [4]location
	return sh.cell(hash, k) != nil || !slices.Equal(locs, sh.table.find(hash, stack[:0]))
}

// readKey reads what is at the locations until it finds the key's entry. The location is 0 if
// there is none.
func (s *Store) readKey(k once.Key, locs []location) (reading, location, error) {
	var damaged error
	for _, loc := range locs {
		r, err := s.read(loc)
		if err != nil {
			damaged = s.unreadable(loc, err)
			continue
		}
		if r.key == k {
			return r, loc, nil
		}
		r.free()
	}
	// What cannot be read could be the key's: claiming it anew could run it again.
	return reading{}, 0, damaged
}
