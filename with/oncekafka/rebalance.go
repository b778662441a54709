package oncekafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// assigned is called before records of the partitions are fetched.
func (r *runner) assigned(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
	cl.ResumeFetchPartitions(parts) // a pause outlasts a rebalance
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, numbers := range parts {
		r.retention.check(cl, topic)
		for _, number := range numbers {
			p := r.newPartition(cl, topic, number)
			r.partitions[place{topic, number}] = p
			go p.run()
		}
	}
}

func (r *runner) newPartition(cl *kgo.Client, topic string, number int32) *partition {
	p := &partition{
		topic: topic, number: number,
		stopping: make(chan struct{}), ended: make(chan struct{}), more: make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancelCause(r.ctx)
	p.handling = handling{cfg: r.cfg, consumer: r.cfg.Consumer, cl: cl, stop: p.stopping}
	return p
}

// revoked lets the records being handled finish, and commits. No poll is under way meanwhile, and
// the next owner begins only when it has returned.
func (r *runner) revoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	ps := r.remove(parts)
	r.endAll(ps, r.cfg.Drain)
	var committing sync.WaitGroup
	for _, p := range ps {
		committing.Go(p.commit)
	}
	committing.Wait()
	for _, p := range ps {
		p.abandon()
	}
}

// lost stops the handlers: others own the partitions already.
func (r *runner) lost(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	ps := r.remove(parts)
	for _, p := range ps {
		p.abandon()
	}
	r.endAll(ps, 0)
}

func (r *runner) remove(parts map[string][]int32) []*partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	var removed []*partition
	for topic, numbers := range parts {
		for _, number := range numbers {
			at := place{topic, number}
			if p := r.partitions[at]; p != nil {
				removed = append(removed, p)
				delete(r.partitions, at)
			}
		}
	}
	return removed
}

// endAll ends partitions: what is being handled has so long to finish, and then a little more to
// give up.
func (r *runner) endAll(ps []*partition, drain time.Duration) {
	for _, p := range ps {
		p.end()
	}
	await(ps, drain)
	for _, p := range ps {
		p.cancel(errDrained)
	}
	await(ps, graceTime)
	for _, p := range ps {
		if !closed(p.ended) {
			r.cfg.Consumer.Config().Logger.Warn("oncekafka: a handler does not return; its partition goes without it",
				"topic", p.topic, "partition", p.number)
		}
	}
}

// await returns when all partitions have ended, or the time is over.
func await(ps []*partition, d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	for _, p := range ps {
		select {
		case <-p.ended:
		case <-over.C:
			return
		}
	}
}
