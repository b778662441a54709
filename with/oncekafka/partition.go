package oncekafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBytes  = 8 << 20         // of the records of one partition that wait
	graceTime = 2 * time.Second // for a handler to return whose context is done
)

// errDrained is the cause for which the context of a handler is done that was not finished in time.
var errDrained = errors.New("oncekafka: the partition goes to another member, or the consumer stops")

// A partition is one that this member was assigned. One goroutine handles its records.
type partition struct {
	handling
	topic  string
	number int32

	ctx      context.Context // of the handlers; outlives that of Run
	cancel   context.CancelCauseFunc
	stopped  sync.Once
	stopping chan struct{} // handling.stop; closed by end
	ended    chan struct{} // closed when the goroutine has ended
	more     chan struct{} // has room for one: there are new records

	committing sync.Mutex // held while marked is committed; comes before mu

	mu     sync.Mutex // guards the rest
	queue  []*item
	bytes  int
	paused bool
	marked *kgo.Record // the last that may be committed
	gone   bool        // to another member: nothing may be marked or committed
}

// give hands over records that were fetched.
func (p *partition) give(f fetched) {
	items := f.items(p.cfg.IDHeader)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, items...)
	for _, it := range items {
		p.bytes += it.size()
	}
	if !p.paused && (len(p.queue) >= p.cfg.Buffer || p.bytes >= maxBytes) {
		p.paused = true
		p.cl.PauseFetchPartitions(p.self())
	}
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// take returns up to n records. It waits for the first, and returns none when the partition ends.
func (p *partition) take(n int) []*item {
	for {
		if items := p.taken(n); len(items) > 0 {
			return items
		}
		select {
		case <-p.more:
		case <-p.stop:
			return nil
		}
	}
}

func (p *partition) taken(n int) []*item {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, len(p.queue))
	items := p.queue[:n:n]
	p.queue = p.queue[n:]
	for _, it := range items {
		p.bytes -= it.size()
	}
	if p.paused && len(p.queue) <= p.cfg.Buffer/2 && p.bytes <= maxBytes/2 {
		p.paused = false
		p.cl.ResumeFetchPartitions(p.self())
	}
	return items
}

func (p *partition) self() map[string][]int32 { return map[string][]int32{p.topic: {p.number}} }

// run handles records until the partition ends.
//
// It begins with one at a time and doubles up, also after a failure, and until there are records
// that were not done before it commits at once. A record that kills the process is in the batch of a
// smaller and smaller number of others then, instead of being met in the same batch each time.
func (p *partition) run() {
	defer close(p.ended)
	limit := p.cfg.Batch * p.cfg.Concurrency
	size, steady := 1, false
	for !closed(p.stop) {
		items := p.take(size)
		for len(items) > 0 {
			batch := undone(items, size)
			a := p.handle(p.ctx, batch)
			items = p.mark(items)
			steady = a.all && (steady || a.ran && size == limit)
			if !steady {
				p.commit()
			}
			if a.all {
				size = min(size*2, limit)
				continue
			}
			size = 1
			if !p.sleep(a.after) {
				return
			}
		}
	}
}

// undone returns the first n records that are not dealt with.
func undone(items []*item, n int) []*item {
	batch := make([]*item, 0, min(n, len(items)))
	for _, it := range items {
		if !it.dealt && len(batch) < n {
			batch = append(batch, it)
		}
	}
	return batch
}

// mark lets the records at the beginning that are dealt with be committed, and returns the others.
func (p *partition) mark(items []*item) []*item {
	n := 0
	for n < len(items) && items[n].dealt {
		n++
	}
	if n == 0 {
		return items
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.marked = items[n-1].rec
		p.cl.MarkCommitRecords(p.marked)
	}
	return items[n:]
}

// commit commits what is marked of this partition alone: what is marked of another one may be out of
// date when it is sent, and would take a commit back. If it fails, more is delivered again than need be.
func (p *partition) commit() {
	p.committing.Lock()
	defer p.committing.Unlock()
	p.mu.Lock()
	last := p.marked
	if p.gone {
		last = nil
	}
	p.mu.Unlock()
	if last == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), commitTime)
	defer cancel()
	if err := p.cl.CommitRecords(ctx, last); err != nil {
		p.consumer.Config().Logger.Warn("oncekafka: offset could not be committed",
			"topic", p.topic, "partition", p.number, "error", err)
	}
}

// sleep reports whether the partition is still to be handled after d.
func (p *partition) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop:
		return false
	}
}

// end lets the partition begin no other record.
func (p *partition) end() { p.stopped.Do(func() { close(p.stopping) }) }

// abandon leaves the partition to the next owner, whatever its handler still does.
func (p *partition) abandon() {
	p.committing.Lock()
	defer p.committing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}
