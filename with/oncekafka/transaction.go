package oncekafka

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/retry"
)

// RunInTransactions is [Run] with a Kafka transaction around every batch: what handlers emit, what is
// dead-lettered, and the offsets become visible together, or not at all. The consumer's Publish
// must be [PublishInTransaction], and the options must have a kgo.TransactionalID.
//
// Two things come together here, and each does its own part. Effects outside of Kafka happen once by
// the store, as in Run: a transaction that is aborted undoes none of them. Outputs are in the topics
// once for each record, for consumers that read committed: when a transaction was aborted, by a
// crash, a rebalance or an error, its records come again, are found done, and the outputs
// that are recorded of them are sent in the next transaction, without the handler being run. So neither
// alone would do: the transaction knows nothing of the database, and the store nothing of the
// topics.
//
// If a handler of many, or one of several at once, fails with a record and succeeds with one behind it, the
// transaction is aborted too, and the second one's outputs are sent when the first is dealt with.
//
// A copy that the producer sent is another record: its outputs are sent again, with the same ids.
//
// A batch is of all partitions, at most Batch × Concurrency records. A rebalance aborts the
// transaction under way. A handler that takes longer than the transaction timeout, 40 seconds if the
// client is not told otherwise, makes it abort; its outputs are sent in the next one. Handlers must
// heed their context: the transaction cannot end without them.
func RunInTransactions(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(true); err != nil {
		return err
	}
	for {
		err := transact(ctx, cfg)
		if ctx.Err() != nil {
			return nil
		}
		cfg.Consumer.Config().Logger.Error("oncekafka: a transaction could not be ended; the producer begins anew",
			"error", err)
		retry.Sleep(ctx, errorPause)
	}
}

// transact is one session of a transactional producer, which a broken transaction ends.
func transact(ctx context.Context, cfg Config) error {
	t := &transactor{cfg: cfg, retention: retentions{consumer: cfg.Consumer}, pending: make(map[place]*pending), size: 1}
	s, err := kgo.NewGroupTransactSession(append(cfg.clientOptions(),
		kgo.OnPartitionsAssigned(t.assigned),
		kgo.OnPartitionsRevoked(t.revoked),
		kgo.OnPartitionsLost(t.revoked),
	)...)
	if err != nil {
		return err
	}
	defer t.retention.checking.Wait()
	defer s.Close()
	t.s = s
	// This aborts what a session before this one, or a process, has left open. Until then, or until it
	// has timed out, the brokers withhold the offsets that are to be committed with it.
	if _, _, err := s.Client().ProducerID(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		t.poll(ctx)
		if err := t.transaction(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A transactor consumes, handles and produces in transactions, one after the other.
type transactor struct {
	cfg       Config
	retention retentions
	s         *kgo.GroupTransactSession
	size      int // of the next transaction, in records; see partition.run
	refused   refusals

	mu      sync.Mutex // guards the rest
	pending map[place]*pending
	round   *round // under way, or nil
}

// pending are the records of a partition that were fetched and are not dealt with, in their order, and
// between them some that are.
type pending struct {
	items []*item
	until time.Time // they are not handled sooner; their partition is paused
}

// A round is one transaction.
type round struct {
	sender
	refused *refusals
	failed  atomic.Bool // something was not sent, or nobody knows
	stopped sync.Once
	stop    chan struct{}
	handled chan struct{} // closed when no handler runs
	cancel  context.CancelCauseFunc
	drain   time.Duration
}

// end lets the round begin no other record, and stops its handlers a little later.
func (r *round) end() {
	r.stopped.Do(func() {
		close(r.stop)
		time.AfterFunc(r.drain, func() { r.cancel(errDrained) })
	})
}

// transaction handles what is due in one transaction.
func (t *transactor) transaction(ctx context.Context) error {
	batch := t.due()
	if len(batch) == 0 {
		return nil
	}
	if err := t.s.Begin(); err != nil {
		return err
	}
	handlers, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	r := &round{
		sender: sender{cl: t.s.Client()}, refused: &t.refused, stop: make(chan struct{}), handled: make(chan struct{}),
		cancel: cancel, drain: t.cfg.Drain,
	}
	defer context.AfterFunc(ctx, r.end)()
	t.setRound(r)
	all, after := t.handle(context.WithValue(handlers, transactionKey{}, r), r, batch)
	close(r.handled)
	t.setRound(nil)

	commit := kgo.TransactionEndTry(!r.failed.Load())
	committed, err := t.s.End(kgo.PreTxnCommitFnContext(context.WithoutCancel(ctx), t.adjust), commit)
	if committed {
		t.refused.committed()
	} else {
		t.reset() // everything since the last commit is fetched again
	}
	if all && committed {
		t.size = min(2*t.size, t.cfg.Batch*t.cfg.Concurrency)
	} else {
		t.size = 1
	}
	if err == nil && !commit {
		retry.Sleep(ctx, after)
	}
	return err
}

// handle handles the partitions at the same time. It reports if all records are dealt with, and
// else when to go on.
func (t *transactor) handle(ctx context.Context, r *round, batch map[place][]*item) (bool, time.Duration) {
	h := handling{cfg: t.cfg, consumer: t.cfg.Consumer, cl: r.cl, stop: r.stop, failed: &r.failed}
	var mu sync.Mutex
	var handled sync.WaitGroup
	all, longest := true, time.Duration(0)
	for at, items := range batch {
		handled.Go(func() {
			a := h.handle(ctx, items)
			if isUnsent(items) {
				r.failed.Store(true)
				a.after = max(a.after, soon)
			} else if hasGap(items) {
				r.failed.Store(true)
			}
			t.dealt(at, a)
			mu.Lock()
			defer mu.Unlock()
			all, longest = all && a.all, max(longest, a.after)
		})
	}
	handled.Wait()
	return all, longest
}

// isUnsent reports whether something was not sent that should have been, or nobody knows. What never
// can be, and is dead-lettered, is not meant.
func isUnsent(items []*item) bool {
	return slices.ContainsFunc(items, func(it *item) bool {
		return !it.dealt && (it.kind == oncemsg.Unacknowledged || it.kind == oncemsg.Unpublished)
	})
}

// hasGap reports whether a record is dealt with behind one that is not. The offset cannot pass that,
// so what was sent for the record behind would be sent again.
func hasGap(items []*item) bool {
	waits := slices.IndexFunc(items, func(it *item) bool { return !it.dealt })
	return waits >= 0 && slices.ContainsFunc(items[waits:], func(it *item) bool { return it.dealt })
}

func (t *transactor) setRound(r *round) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round = r
}
