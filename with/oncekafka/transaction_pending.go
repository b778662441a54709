package oncekafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncehq/once/retry"
)

// poll fetches as many records as the next transaction has room for. It waits only if there are
// none.
func (t *transactor) poll(ctx context.Context) {
	wait, cancel, room := t.room(ctx)
	defer cancel()
	if room == 0 {
		return
	}
	fetches := t.s.PollRecords(wait, room)
	t.mu.Lock()
	for at, f := range fetchedIn(fetches) {
		p := t.pending[at]
		if p == nil {
			p = new(pending)
			t.pending[at] = p
		}
		p.items = append(p.items, f.items(t.cfg.IDHeader)...)
	}
	t.mu.Unlock()
	if logErrors(t.cfg, fetches) {
		retry.Sleep(ctx, errorPause)
	}
}

// room resumes partitions that are due again, and returns how many records may be fetched, and
// the context for waiting for them: nil to not wait.
func (t *transactor) room(ctx context.Context) (wait context.Context, cancel func(), room int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room = t.size
	now := time.Now()
	var next time.Time
	for at, p := range t.pending {
		switch {
		case !p.until.IsZero() && p.until.After(now):
			if next.IsZero() || p.until.Before(next) {
				next = p.until
			}
			continue
		case !p.until.IsZero():
			p.until = time.Time{}
			t.s.Client().ResumeFetchPartitions(map[string][]int32{at.topic: {at.number}})
		}
		room -= len(p.items)
	}
	switch {
	case room < t.size:
		return nil, func() {}, max(room, 0)
	case next.IsZero():
		return ctx, func() {}, room
	}
	wait, cancel = context.WithDeadline(ctx, next)
	return wait, cancel, room
}

// due returns the records of the next transaction.
func (t *transactor) due() map[place][]*item {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch := make(map[place][]*item)
	left := t.size
	for at, p := range t.pending {
		if left == 0 {
			break
		}
		if p.until.IsZero() && len(p.items) > 0 {
			batch[at] = undone(p.items, left)
			left -= len(batch[at])
		}
	}
	return batch
}

// dealt forgets the records at the beginning that are dealt with. If others have to wait, so does the
// partition.
func (t *transactor) dealt(at place, a advance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pending[at]
	if p == nil {
		return // revoked meanwhile; the transaction is aborted
	}
	for len(p.items) > 0 && p.items[0].dealt {
		p.items = p.items[1:]
	}
	if len(p.items) == 0 {
		delete(t.pending, at)
	} else if !a.all {
		p.until = time.Now().Add(a.after)
		t.s.Client().PauseFetchPartitions(map[string][]int32{at.topic: {at.number}})
	}
}

// adjust keeps the transaction from committing what was fetched and is not dealt with: the client
// would commit all that was polled.
func (t *transactor) adjust(req *kmsg.TxnOffsetCommitRequest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range req.Topics {
		topic := &req.Topics[i]
		for j := range topic.Partitions {
			c := &topic.Partitions[j]
			if p := t.pending[place{topic.Topic, c.Partition}]; p != nil && len(p.items) > 0 {
				c.Offset, c.LeaderEpoch = p.items[0].rec.Offset, p.items[0].rec.LeaderEpoch
			}
		}
	}
	return nil
}

// reset forgets all that was fetched.
func (t *transactor) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for at, p := range t.pending {
		if !p.until.IsZero() {
			t.s.Client().ResumeFetchPartitions(map[string][]int32{at.topic: {at.number}})
		}
	}
	clear(t.pending)
}

func (t *transactor) assigned(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
	cl.ResumeFetchPartitions(parts)
	for topic := range parts {
		t.retention.check(cl, topic)
	}
}

// revoked lets the records being handled finish, although their transaction is going to be aborted:
// the next owner finds them done.
func (t *transactor) revoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	t.mu.Lock()
	for topic, numbers := range parts {
		for _, number := range numbers {
			delete(t.pending, place{topic, number})
		}
	}
	r := t.round
	t.mu.Unlock()
	if r == nil || len(parts) == 0 {
		return
	}
	r.end()
	over := time.NewTimer(t.cfg.Drain + graceTime)
	defer over.Stop()
	select {
	case <-r.handled:
	case <-over.C:
	}
}
