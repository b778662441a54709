package oncedisk

import (
	"sync"

	"github.com/oncehq/once"
)

const shardCount = 256 // the hash's last byte chooses; see table.home

// A shard is the part of the index that belongs to some of the keys. Its mutex is never held
// while a file is read or written.
//
// A record is in the table or in a cell: in the table when it is done, or when it is a claim that
// nobody asked about lately; in a cell while it is in flight.
type shard struct {
	mu    sync.Mutex
	table table
	cells map[uint64]*cell // by hash
	limit int              // of cells, before those in doubt leave memory
	_     [64]byte         // shards change all the time, and not together
}

// A cell is an operation of which the state is in memory. While a verb changes it, the cell is
// busy, and other verbs on the key wait: what a verb says is true only once it is durable.
type cell struct {
	hash uint64
	next *cell // another with the same hash
	busy bool
	wake chan struct{} // closed when the cell changes; nil while nobody waits

	entry          // of kind open; or, while the cell is busy, done or zero (absent)
	loc   location // of the entry; if absent: of what is over and still in the table, or 0
	size  int64
}

func (sh *shard) cell(hash uint64, k once.Key) *cell {
	for c := sh.cells[hash]; c != nil; c = c.next {
		if c.key == k {
			return c
		}
	}
	return nil
}

// busy returns a busy cell of the hash, whatever its key, or nil.
func (sh *shard) busy(hash uint64) *cell {
	for c := sh.cells[hash]; c != nil; c = c.next {
		if c.busy {
			return c
		}
	}
	return nil
}

const fewCells = 16

func (sh *shard) put(c *cell, now instant) {
	if sh.cells == nil {
		sh.cells, sh.limit = make(map[uint64]*cell), fewCells
	}
	if len(sh.cells) >= sh.limit {
		sh.evict(now)
		sh.limit = max(fewCells, 2*len(sh.cells))
	}
	c.next = sh.cells[c.hash]
	sh.cells[c.hash] = c
}

func (sh *shard) drop(c *cell) {
	first := sh.cells[c.hash]
	if first == c {
		if c.next == nil {
			delete(sh.cells, c.hash)
		} else {
			sh.cells[c.hash] = c.next
		}
		return
	}
	for p := first; p != nil; p = p.next {
		if p.next == c {
			p.next = c.next
			return
		}
	}
}

// evict moves claims in doubt to the table, where they take little memory until somebody asks.
// Those who wait for one are told: it is not in flight any more.
func (sh *shard) evict(now instant) {
	for _, first := range sh.cells {
		for c := first; c != nil; c = c.next {
			if c.busy || c.state(now) != once.InDoubt {
				continue
			}
			if !c.over(now) { // else its segment may be gone
				sh.table.insert(c.hash, c.loc)
			}
			sh.drop(c)
			c.tell()
		}
	}
}

// waiting returns a channel that is closed when the cell changes. The shard must be locked.
func (c *cell) waiting() <-chan struct{} {
	if c.wake == nil {
		c.wake = make(chan struct{})
	}
	return c.wake
}

// rest ends a verb's turn: a cell that is not a claim's leaves memory. The shard must be locked.
func (sh *shard) rest(c *cell) {
	c.busy = false
	if c.kind != kindOpen {
		sh.drop(c)
	}
	c.tell()
}

// tell tells those who wait that the cell has changed. The shard must be locked.
func (c *cell) tell() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}
