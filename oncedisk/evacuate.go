package oncedisk

import (
	"context"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// A removal is what is being carried out of one segment.
type removal struct {
	store *Store
	ctx   context.Context
	seg   *segment
	over  int // records that were over and are no more
	moved []moved
}

// A moved record has a second place, in a carried segment, which the index does not yet know.
type moved struct {
	hash      uint64
	from, to  location
	size      int64
	at        instant // of the completion
	retention time.Duration
}

// evacuate carries what is alive in a sealed segment elsewhere, and deletes it: claims to the end
// of the log, done records to segments of records that expire at about the same time. A record is
// carried at most a few times in its life: what expires together then dies together.
func (s *Store) evacuate(ctx context.Context, seg *segment) (removed int, err error) {
	m := &removal{store: s, ctx: ctx, seg: seg}
	if _, err := s.scanRefs(seg, m.visit); err != nil {
		return m.over, err
	}
	if err := s.flushCarriers(); err != nil {
		return m.over, err
	}
	for i := range m.moved {
		s.move(&m.moved[i])
	}
	removed, err = s.drop(ctx, seg)
	return m.over + removed, err
}

// visit looks at one entry of the segment.
func (m *removal) visit(r ref, e *entry) error {
	if m.store.stopping() {
		return once.ErrClosed
	}
	if r.kind() == refGone || !m.store.live(m.seg, &r) {
		return nil
	}
	if e.over(m.store.clock.now()) {
		if m.store.bury(m.seg, &r) {
			m.over++
		}
		return nil
	}
	if r.kind() == refOpen {
		return m.carryClaim(e)
	}
	return m.carryDone(&r)
}

// carryClaim appends the claim to the log again, unless something else happened to it.
func (m *removal) carryClaim(e *entry) error {
	stamp := e.stamp
	// The cell may keep the key that it is asked for, and this one lies in the scan's window.
	k := once.Key{Scope: strings.Clone(e.key.Scope), ID: strings.Clone(e.key.ID)}
	c, err := m.store.visit(m.ctx, k, func(now *entry, _ instant) bool {
		return now.kind == kindOpen && now.stamp == stamp
	})
	if c == nil {
		return err
	}
	same := c.entry
	return m.store.change(m.ctx, c, &same)
}

// carryDone copies the record to the carried segment of its expiry.
func (m *removal) carryDone(r *ref) error {
	from := locate(m.seg.number, r.offset())
	got, err := m.store.read(from)
	if err != nil {
		return m.store.unreadable(from, err)
	}
	defer got.free()
	done := got.entry
	done.first, done.claim = 0, 0 // what it shielded is bequeathed
	to, size, err := m.store.carryTo(&done, r.hash)
	if err != nil {
		return err
	}
	m.moved = append(m.moved, moved{r.hash, from, to, size, done.at, done.retention})
	return nil
}

// move lets the index know a record's second place, if nothing happened to the record.
func (s *Store) move(m *moved) {
	sh := s.shard(m.hash)
	for {
		sh.mu.Lock()
		c := sh.busy(m.hash)
		if c == nil {
			break
		}
		wake := c.waiting()
		sh.mu.Unlock()
		<-wake
	}
	defer sh.mu.Unlock()
	if sh.table.replace(m.hash, m.from, m.to) {
		done := entry{kind: kindDone, at: m.at, retention: m.retention}
		s.segments.get(m.to.segment()).add(&done, m.size)
	}
}

// bequeath writes anew what keeps entries of earlier segments from being believed, if those are
// still there when this segment will not be.
func (s *Store) bequeath(ctx context.Context, seg *segment) error {
	needed := seg.tally.gone.Load() > int64(s.clock.now())
	if seg.bequeathed || !needed && !s.segments.between(seg.first.Load(), seg.number) {
		return nil
	}
	var last ticket
	_, err := s.scanRefs(seg, func(r ref, e *entry) error {
		heir := entry{kind: kindGone, stamp: e.stamp, first: e.first}
		if e.kind == kindGone && e.until > s.clock.now() {
			heir.until = e.until
		}
		if heir.until == 0 && !s.segments.between(e.first, seg.number) {
			return nil
		}
		if heir.key = e.key; e.claim != 0 {
			whole, err := s.read(locate(seg.number, r.offset()))
			if err != nil {
				return s.unreadable(locate(seg.number, r.offset()), err)
			}
			defer whole.free()
			heir.key = whole.key
		}
		buf := heir.encode(nil)
		t, err := s.log.append(ctx, note{&heir, buf, r.hash, int64(len(buf))}, nil)
		if err != nil {
			return err
		}
		t.seg.shield(&heir)
		t.seg.pending.Add(-1)
		last = t
		return nil
	})
	if err == nil && last.batch != nil {
		if last.wait(ctx) { // and for every batch before
			err = last.err
		} else {
			err = ctx.Err()
		}
	}
	seg.bequeathed = err == nil
	return err
}
