package oncesql

import (
	"context"
	"sync"
	"time"

	"github.com/oncehq/once"
)

// InnoDB lets others see a commit before it is on disk, unless there is a binary log, which has it
// by then. Whoever waits for the commit is told when it is there; but a reader can be faster, by as long as
// the disk takes, and what it has read a loss of power would forget.
//
// So what was only read is not acknowledged before a commit of one's own that comes after it in the
// log is on disk. That is so for a claim that stands already under the same owner, and for an
// outcome; unless it was written so long ago that the server would have ended itself, had the disk
// taken that long.

// settling is how long ago. InnoDB ends itself after ten minutes (MySQL's manual,
// innodb_fatal_semaphore_wait_threshold); disks that hang for one are taken out of service.
const settling = time.Minute

// confirmation is such a commit: of a row that is no record, and that the sweep removes an hour later.
const confirmation = `
INSERT INTO once_records (scope, id, owner, fence, created, lease_end, forget, expires, state, attempt, failed)
VALUES ('', ?, ?, 1, {now}, 0, 0, {now}, 0, 0, 0)
ON DUPLICATE KEY UPDATE fence = fence + 1, expires = {now}`

// unsure reports whether the record, as the row was when the claim met it, is to be confirmed.
func (s *Store) unsure(c once.Claim, r *row, rec once.Record) bool {
	standing := rec.Fence == uint64(r.fence)
	mine := rec.Won(c) && r.created != r.began // else this very statement has made it
	return s.confirmer != nil && standing && (rec.State == once.Done || mine) && r.young()
}

// confirm returns nil once a loss of power will not forget anything that was read before.
func (s *Store) confirm(ctx context.Context) error {
	return s.confirmer.wait(ctx, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
		defer cancel()
		id := s.confirmer.row[:]
		_, err := s.engine.change(ctx, s.sql.confirm, id, id)
		return explain(err)
	})
}

// A confirmer commits for all who ask for it while another commit is under way.
type confirmer struct {
	row once.Owner // of this store's alone, so that it waits for no other's lock

	mu   sync.Mutex
	next *round // that has not begun; nil: nobody waits
	busy bool
}

type round struct {
	done chan struct{}
	err  error
}

// wait returns what came of a commit that has begun after the call.
func (c *confirmer) wait(ctx context.Context, commit func() error) error {
	c.mu.Lock()
	if c.next == nil {
		c.next = &round{done: make(chan struct{})}
	}
	mine := c.next
	if !c.busy {
		c.busy = true
		go c.work(commit)
	}
	c.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// work commits until nobody waits.
func (c *confirmer) work(commit func() error) {
	for {
		c.mu.Lock()
		now := c.next
		c.next, c.busy = nil, now != nil
		c.mu.Unlock()
		if now == nil {
			return
		}
		now.err = commit()
		close(now.done)
	}
}
