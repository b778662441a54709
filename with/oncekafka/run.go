package oncekafka

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/retry"
)

const (
	commitEvery = time.Second
	commitTime  = 10 * time.Second // for the brokers to answer
	errorPause  = time.Second      // between two polls if one has failed
)

// Run consumes as one member of a group until ctx is done. Then it lets the records being handled
// finish, as [Config.Drain] says, commits, leaves the group, and returns nil. Otherwise it returns
// an error at once if something is wrong with cfg.
//
// Errors of the brokers do not end it: they are logged, and tried again for ever.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(false); err != nil {
		return err
	}
	r := &runner{
		cfg: cfg, ctx: context.WithoutCancel(ctx), partitions: make(map[place]*partition),
		retention: retentions{consumer: cfg.Consumer},
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.AutoCommitInterval(commitEvery)}, append(cfg.clientOptions(),
		kgo.AutoCommitMarks(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(r.assigned),
		kgo.OnPartitionsRevoked(r.revoked),
		kgo.OnPartitionsLost(r.lost),
	)...)...)
	if err != nil {
		return err
	}
	err = r.poll(ctx, cl)
	// The group hears this member's heartbeats as long as it has not left, and no rebalance takes
	// from it what is in hand.
	r.revoked(r.ctx, cl, r.all())
	cl.CloseAllowingRebalance()
	r.retention.checking.Wait()
	return err
}

// A runner is one member of the group.
type runner struct {
	cfg       Config
	ctx       context.Context // the caller's values
	retention retentions

	mu         sync.Mutex
	partitions map[place]*partition
}

// A place is a partition's name.
type place struct {
	topic  string
	number int32
}

// poll hands records over to their partitions. Rebalances are allowed only between two polls: so
// each record goes to a partition that is this member's, and when one is revoked no record of it is
// on its way. When it returns, rebalances stay blocked.
func (r *runner) poll(ctx context.Context, cl *kgo.Client) error {
	for {
		fetches := cl.PollFetches(ctx)
		for at, fetched := range fetchedIn(fetches) {
			p := r.partition(at)
			if p == nil { // a record that is passed over may be lost
				return fmt.Errorf("oncekafka: %s/%d has records, but is not assigned", at.topic, at.number)
			}
			p.give(fetched)
		}
		failed := logErrors(r.cfg, fetches)
		if ctx.Err() != nil {
			return nil
		}
		cl.AllowRebalance()
		if failed {
			retry.Sleep(ctx, errorPause)
		}
	}
}

// fetchedIn yields the items of each partition in the fetches, one or more.
func fetchedIn(fetches kgo.Fetches) iter.Seq2[place, fetched] {
	return func(yield func(place, fetched) bool) {
		for _, f := range fetches {
			for _, t := range f.Topics {
				for _, p := range t.Partitions {
					if len(p.Records) > 0 && !yield(place{t.Topic, p.Partition}, fetched{t.TopicID, p.Records}) {
						return
					}
				}
			}
		}
	}
}

// A fetched is what came from one partition.
type fetched struct {
	topicID [16]byte
	records []*kgo.Record
}

// items describes the records for the consumer.
func (f fetched) items(idHeader string) []*item {
	items := make([]*item, len(f.records))
	for i, rec := range f.records {
		items[i] = &item{rec: rec, msg: message(rec, f.topicID, idHeader)}
	}
	return items
}

// logErrors reports whether the fetches have errors that somebody has to look at.
func logErrors(cfg Config, fetches kgo.Fetches) (failed bool) {
	fetches.EachError(func(topic string, number int32, err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return
		}
		failed = true
		cfg.Consumer.Config().Logger.Error("oncekafka: fetching failed and is tried again",
			"topic", topic, "partition", number, "error", err)
	})
	return failed
}

func (r *runner) partition(at place) *partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.partitions[at]
}

// all are the partitions that this member has.
func (r *runner) all() map[string][]int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := make(map[string][]int32)
	for at := range r.partitions {
		parts[at.topic] = append(parts[at.topic], at.number)
	}
	return parts
}
