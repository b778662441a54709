package oncedisk

import (
	"context"
	"sync"
)

// scratch lends buffers for encoding.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// change makes next, of kind open, done or gone, the state of a busy cell, and returns when that
// is durable. If the context is done before, the change is finished without the caller.
func (s *Store) change(ctx context.Context, c *cell, next *entry) error {
	t, err := s.enqueue(ctx, c, next)
	if err != nil {
		s.abandon(c)
		return err
	}
	return s.await(ctx, c, next, t)
}

// await returns when the batch of the ticket is durable and the index knows it.
func (s *Store) await(ctx context.Context, c *cell, next *entry, t ticket) error {
	if !t.wait(ctx) {
		s.settleLater(c, *next, t)
		return ctx.Err()
	}
	return s.settle(c, next, t)
}

func (s *Store) settleLater(c *cell, next entry, t ticket) {
	go func() {
		<-t.done
		s.settle(c, &next, t)
	}()
}

// enqueue appends the entry to the log. A claim that is completed while its entry is in the
// active segment gets a short entry that refers to it.
func (s *Store) enqueue(ctx context.Context, c *cell, next *entry) (ticket, error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	if next.kind == kindDone && c.kind == kindOpen {
		if seg := s.segments.get(c.loc.segment()); seg != nil && !seg.sealed.Load() {
			end := *next
			end.kind, end.claim = kindEnd, c.loc.offset()
			*buf = end.encode((*buf)[:0])
			n := note{&end, *buf, c.hash, int64(len(*buf)) + c.size}
			if t, err := s.log.append(ctx, n, seg); err != errMoved {
				return t, err
			}
		}
	}
	*buf = next.encode((*buf)[:0])
	return s.log.append(ctx, note{next, *buf, c.hash, int64(len(*buf))}, nil)
}

// settle brings the index up to date after the batch of the ticket is done.
func (s *Store) settle(c *cell, next *entry, t ticket) error {
	sh := s.shard(c.hash)
	sh.mu.Lock()
	if t.err == nil {
		s.apply(sh, c, next, t)
	}
	sh.rest(c)
	sh.mu.Unlock()
	t.seg.pending.Add(-1)
	if t.err == nil && next.kind != kindGone {
		s.alarm.set(next.expiry())
	}
	return t.err
}

// apply puts next in the place of what the busy cell held. The shard is locked.
func (s *Store) apply(sh *shard, c *cell, next *entry, t ticket) {
	if c.kind != kindOpen && c.loc != 0 {
		sh.table.remove(c.hash, c.loc)
	}
	if c.kind != 0 {
		if seg := s.segments.get(c.loc.segment()); seg != nil {
			seg.add(&c.entry, -c.size)
		}
	}
	t.seg.shield(next)
	if next.kind == kindGone {
		c.kind = 0
		return
	}
	t.seg.add(next, t.size)
	if next.kind == kindDone {
		sh.table.insert(c.hash, t.loc)
		c.kind = 0
		return
	}
	c.entry, c.loc, c.size = *next, t.loc, t.size
}

// abandon ends a turn in which nothing was changed.
func (s *Store) abandon(c *cell) {
	sh := s.shard(c.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.rest(c)
}
