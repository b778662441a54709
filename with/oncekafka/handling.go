package oncekafka

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
)

// A handling is how one member handles records, whichever way it commits.
type handling struct {
	cfg      Config
	consumer *oncemsg.Consumer
	cl       *kgo.Client
	stop     <-chan struct{} // closed: begin no other record
	failed   *atomic.Bool    // to be set if a record was not sent; nil outside of transactions
}

// keySeed spreads keys over lanes. It need not be the same anywhere else.
var keySeed = maphash.MakeSeed()

// An advance is what came of handling some records of a partition.
type advance struct {
	all   bool          // are dealt with
	ran   bool          // there were some that were not done before
	after time.Duration // when to go on, unless all are dealt with
}

// handle handles records of one partition, in their order if Concurrency is one.
func (h *handling) handle(ctx context.Context, items []*item) advance {
	var lanes sync.WaitGroup
	for _, lane := range h.lanes(items) {
		lanes.Go(func() { h.lane(ctx, lane) }) // on its own, since a handler may end its goroutine
	}
	lanes.Wait()
	a := advance{all: true}
	for _, it := range items {
		a.ran = a.ran || it.kind == oncemsg.Ran
		if !it.dealt && a.all {
			a.all, a.after = false, it.after
			if it.kind == 0 {
				a.after = soon
			}
		}
	}
	return a
}

// lanes divides records among those that are handled at once. Those with the same key stay in
// their order.
func (h *handling) lanes(items []*item) [][]*item {
	n := min(h.cfg.Concurrency, len(items))
	if n <= 1 {
		return [][]*item{items}
	}
	lanes := make([][]*item, n)
	for i, it := range items {
		if it.rec.Key != nil {
			i = int(maphash.Bytes(keySeed, it.rec.Key) % uint64(n))
		}
		lanes[i%n] = append(lanes[i%n], it)
	}
	return lanes
}

// lane handles records one after the other until one is not dealt with.
func (h *handling) lane(ctx context.Context, items []*item) {
	if len(items) < 2 || h.consumer.Config().Mode == oncemsg.InTransaction {
		for _, it := range items {
			if closed(h.stop) {
				return
			}
			h.settle(ctx, it, h.one(ctx, it.message()))
			if !it.dealt {
				return
			}
		}
		return
	}
	ms := make([]oncemsg.Message, len(items))
	for i, it := range items {
		ms[i] = it.message()
	}
	g := newGate(h, ms)
	for i, d := range h.many(ctx, ms, g) {
		h.settle(ctx, items[i], d)
	}
}

func (h *handling) one(ctx context.Context, m oncemsg.Message) oncemsg.Decision {
	if h.cfg.BatchHandler != nil {
		return h.consumer.HandleBatch(ctx, []oncemsg.Message{m}, h.cfg.BatchHandler)[0]
	}
	return h.consumer.Handle(ctx, m, h.cfg.Handler)
}

func (h *handling) many(ctx context.Context, ms []oncemsg.Message, g *gate) []oncemsg.Decision {
	if h.cfg.BatchHandler != nil {
		return h.consumer.HandleBatch(ctx, ms, g.batch(h.cfg.BatchHandler))
	}
	return h.consumer.HandleEach(ctx, ms, g.each(h.cfg.Handler))
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
