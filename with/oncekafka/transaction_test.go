package oncekafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// invoice emits one record for each that is handled, and two for those whose number is odd.
func (e *effects) invoice(ctx context.Context, m oncemsg.Message) error {
	id := string(m.Payload)
	out := []oncemsg.Output{{To: "invoices", OrderBy: id, Payload: []byte("invoice " + id)}}
	if strings.ContainsAny(id[len(id)-1:], "13579") {
		out = append(out, oncemsg.Output{To: "invoices", OrderBy: "receipt " + id, Payload: []byte("receipt " + id)})
	}
	e.add(m)
	return oncemsg.Emit(ctx, out...)
}

func invoices(ids []string) (want []string) {
	for _, id := range ids {
		want = append(want, "invoice "+id)
		if strings.ContainsAny(id[len(id)-1:], "13579") {
			want = append(want, "receipt "+id)
		}
	}
	slices.Sort(want)
	return want
}

// wantOutputs compares what consumers that read committed are given with what was to be sent.
func (b *broker) wantOutputs(ids []string) {
	b.t.Helper()
	want := invoices(ids)
	var got, names []string
	for _, r := range b.read("invoices", len(want)) {
		got = append(got, string(r.Value))
		for _, h := range r.Headers {
			if h.Key == oncekafka.HeaderID {
				names = append(names, string(h.Value))
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("%d outputs are\n%q\nwant %d\n%q", len(got), got, len(want), want)
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != len(want) {
		b.t.Errorf("%d outputs have %d ids", len(want), n)
	}
}

// wantAllCommitted waits for the offsets of a transaction.
func (b *broker) wantAllCommitted(partitions int32, n int64) {
	b.t.Helper()
	for p := range partitions {
		b.wantCommitted("orders", p, n)
	}
}

// refusePart refuses one partition in n requests that carry several, and so takes a part of them.
func (b *broker) refusePart(topic string, n int) func() int64 {
	h := b.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{0}, Err: kerr.TopicAuthorizationFailed, Count: n,
		When: func(req kmsg.Request) bool {
			topics := req.(*kmsg.ProduceRequest).Topics
			return len(topics) == 1 && len(topics[0].Partitions) > 1
		},
	})
	return func() int64 { return int64(h.Hits()) }
}

func (b *broker) transactional(id string) []kgo.Opt {
	return append(b.options("orders"), kgo.TransactionalID(id))
}

func TestTransactionsSendOutputsOnceWhateverFails(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 2, "orders", "invoices")
	ids := b.fill("orders", 2, 100)
	refused := b.refusePart("invoices", 3)
	var e effects
	var observed atomic.Int64
	var failures atomic.Int64
	start(t, oncekafka.RunInTransactions, oncekafka.Config{
		Options: b.transactional("a"),
		Consumer: newConsumer(t, oncemsg.Config{
			Publish: oncekafka.PublishInTransaction,
			Observe: func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
				if d.Kind == oncemsg.Duplicate {
					observed.Add(1)
				}
			},
		}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if strings.HasSuffix(string(m.Payload), "7") && failures.Add(1)%2 == 1 {
				return errors.New("no")
			}
			return e.invoice(ctx, m)
		},
	})
	b.wantAllCommitted(2, 100)
	e.want(t, ids)
	b.wantOutputs(ids)
	if refused() < 3 || observed.Load() == 0 {
		t.Errorf("%d requests were refused, and %d records were sent again; want 3 and some", refused(), observed.Load())
	}
}

func TestTransactionsCommitNoRecordThatIsNotDealtWith(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 2, "orders", "invoices")
	ids := b.fill("orders", 2, 60)
	const failing = 20
	var fixed atomic.Bool
	b.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		for _, topic := range req.(*kmsg.TxnOffsetCommitRequest).Topics {
			for _, p := range topic.Partitions {
				if p.Partition == 0 && p.Offset > failing && !fixed.Load() {
					t.Errorf("offset %d is committed, past a record that is not dealt with", p.Offset)
				}
			}
		}
		return nil, nil, false
	})
	var e effects
	guard := newGuard(t, once.Config{MaxAttempts: 1 << 30})
	start(t, oncekafka.RunInTransactions, oncekafka.Config{
		Options:  b.transactional("a"),
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard, Publish: oncekafka.PublishInTransaction}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if string(m.Payload) == ids[failing] && !fixed.Load() {
				return errors.New("no")
			}
			return e.invoice(ctx, m)
		},
	})
	b.wantCommitted("orders", 1, 60)
	b.wantCommitted("orders", 0, failing)
	fixed.Store(true)
	b.wantAllCommitted(2, 60)
	e.want(t, ids)
	b.wantOutputs(ids)
}

func TestTransactionsOfMembersThatComeAndGoSendOutputsOnce(t *testing.T) {
	t.Parallel()
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const partitions, n = 4, 60
			b := newBroker(t, partitions, "orders", "invoices")
			ids := b.fill("orders", partitions, n)
			var e effects
			guard := newGuard(t, once.Config{Lease: 2 * time.Second})
			members := 0
			member := func() func() {
				members++
				return start(t, oncekafka.RunInTransactions, oncekafka.Config{
					Options: append(b.transactional(fmt.Sprint(members)), opts...), Batch: 16,
					Consumer: newConsumer(t, oncemsg.Config{Guard: guard, Publish: oncekafka.PublishInTransaction}),
					Handler: func(ctx context.Context, m oncemsg.Message) error {
						time.Sleep(2 * time.Millisecond)
						return e.invoice(ctx, m)
					},
				})
			}
			after := func(k int) {
				t.Helper()
				eventually(t, "the members go on", func() bool { return len(e.all()) >= k })
			}
			first := member()
			after(30)
			member()
			after(90)
			first()
			after(150)
			member()
			b.wantAllCommitted(partitions, n)
			e.want(t, ids)
			b.wantOutputs(ids)
		})
	}
}

func TestTransactionThatCannotBeEndedIsBegunAnew(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders", "invoices")
	ids := b.fill("orders", 1, 40)
	// Another producer with the same id has taken over, as after a long pause.
	b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: "a", TopLevel: true, Err: kerr.ProducerFenced, Count: 2})
	var e effects
	start(t, oncekafka.RunInTransactions, oncekafka.Config{
		Options:  b.transactional("a"),
		Consumer: newConsumer(t, oncemsg.Config{Publish: oncekafka.PublishInTransaction}),
		Handler:  e.invoice,
	})
	b.wantAllCommitted(1, 40)
	e.want(t, ids)
	b.wantOutputs(ids)
}

func TestOutputsAreSentAfterAFailureWithoutTheHandler(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders", "invoices")
	ids := b.fill("orders", 1, 40)
	refused := b.refuseProduce("invoices", 2)
	var e effects
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options:  b.options("orders"),
		Consumer: newConsumer(t, oncemsg.Config{Publish: oncekafka.Publish(b.client())}),
		Handler:  e.invoice,
	})
	b.wantCommitted("orders", 0, 40)
	stop()
	e.want(t, ids)
	if refused() != 2 {
		t.Errorf("%d requests were refused, want 2", refused())
	}
	// At least once each, and a copy has the id of the first.
	byID := make(map[string]string)
	for _, r := range b.read("invoices", int(b.end("invoices"))) {
		for _, h := range r.Headers {
			if h.Key == oncekafka.HeaderID {
				if v, again := byID[string(h.Value)]; again && v != string(r.Value) {
					t.Errorf("%s and %s have the same id", v, r.Value)
				}
				byID[string(h.Value)] = string(r.Value)
			}
		}
	}
	var got []string
	for _, v := range byID {
		got = append(got, v)
	}
	slices.Sort(got)
	if want := invoices(ids); !slices.Equal(got, want) {
		t.Errorf("outputs are %q, want %q", got, want)
	}
}
