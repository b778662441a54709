package oncekafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/with/oncekafka"
)

func TestRecordsAreHandledOnceAndInOrder(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 3, "orders")
	ids := b.fill("orders", 3, 300)
	var e effects
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{}), Handler: e.handle,
		Buffer: 64, // so that fetching is paused and resumed
	})
	e.want(t, ids)
	b.produce(record("orders", 2, "later"))
	ids = append(ids, "later")
	e.want(t, ids)
	stop()
	for p, want := range []int64{300, 300, 301} {
		if got := b.committed("orders", int32(p)); got != want {
			t.Errorf("partition %d is committed up to %d after the stop, want %d", p, got, want)
		}
	}
	e.want(t, ids)
}

func TestCopyByTheProducerIsNotHandled(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 2, "orders")
	event := func(p int32, id string) *kgo.Record {
		return &kgo.Record{
			Topic: "orders", Partition: p, Value: []byte(id),
			Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte(id)}, {Key: "ce_source", Value: []byte("/shop")}},
		}
	}
	b.produce(record("orders", 0, "a"), event(0, "b"), record("orders", 0, "a"), event(0, "b"), event(0, "c"))
	var e effects
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{}), Handler: e.handle,
	})
	b.wantCommitted("orders", 0, 5)
	b.produce(record("orders", 1, "a"), event(1, "b"), record("orders", 1, "d"))
	b.wantCommitted("orders", 1, 3)
	e.want(t, []string{"a", "b", "c", "d"})
}

func TestRedeliveryIsNotHandled(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	var ids []string
	for i := range 150 { // without an id: the position has to do
		id := fmt.Sprintf("%03d", i)
		ids = append(ids, id)
		b.produce(&kgo.Record{Topic: "orders", Value: []byte(id)})
	}
	var e effects
	consumer := newConsumer(t, oncemsg.Config{})
	for _, g := range []string{"first", "second"} { // which has no offsets
		stop := start(t, oncekafka.Run, oncekafka.Config{
			Options:  append(b.options("orders"), kgo.ConsumerGroup(g)),
			Consumer: consumer, Handler: e.handle,
		})
		eventually(t, "all is committed", func() bool {
			info := b.GroupInfo(g)
			return info != nil && info.Commits["orders"][0].Offset == 150
		})
		stop()
		e.want(t, ids)
	}
}

func TestFailureIsTriedAgainInPlaceAndOtherPartitionsGoOn(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 2, "orders")
	ids := b.fill("orders", 2, 200)
	const failing = 120
	var fixed atomic.Bool
	b.onCommit(func(_ string, p int32, offset int64) {
		if p == 0 && offset > failing && !fixed.Load() {
			t.Errorf("offset %d is committed, past a record that is not dealt with", offset)
		}
	})
	var e effects
	var failures atomic.Int64
	guard := newGuard(t, once.Config{MaxAttempts: 1 << 30})
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if string(m.Payload) == ids[failing] && !fixed.Load() {
				switch failures.Add(1) % 3 {
				case 0:
					panic("no")
				case 1:
					runtime.Goexit()
				}
				return errors.New("no")
			}
			return e.handle(ctx, m)
		},
	})
	b.wantCommitted("orders", 1, 200)
	b.wantCommitted("orders", 0, failing)
	n := failures.Load()
	eventually(t, "it is tried again", func() bool { return failures.Load() > n+3 })
	if got := len(e.all()); got != failing+200 {
		t.Errorf("%d records are handled, want %d: none behind the failing one", got, failing+200)
	}
	fixed.Store(true)
	e.want(t, ids)
	stop()
	b.wantCommitted("orders", 0, 200)
}

func TestPoisonIsDeadLetteredBeforeItIsCommitted(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 50)
	// The first two times the dead-letter topic refuses.
	refusals := b.refuseProduce(dead, 2)
	b.onCommit(func(_ string, _ int32, offset int64) {
		if offset > 10 && b.end(dead) == 0 {
			t.Errorf("offset %d is committed, but nothing is dead-lettered", offset)
		}
	})
	var e effects
	var tries atomic.Int64
	guard := newGuard(t, once.Config{MaxAttempts: 3})
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			switch string(m.Payload) {
			case ids[10]:
				tries.Add(1)
				return errors.New("no")
			case ids[20]:
				return once.Final(errors.New("never"))
			}
			return e.handle(ctx, m)
		},
	})
	b.wantCommitted("orders", 0, 50)
	if tries.Load() != 3 {
		t.Errorf("the poison was handled %d times, want 3", tries.Load())
	}
	if refusals() != 2 {
		t.Errorf("%d dead letters were refused, want 2", refusals())
	}
	e.want(t, slices.Concat(ids[:10], ids[11:20], ids[21:]))
	got := b.read(dead, 2)
	for i, want := range []struct{ id, kind, err string }{{ids[10], "poisoned", "no"}, {ids[20], "rejected", "never"}} {
		h := make(map[string]string)
		for _, x := range got[i].Headers {
			h[x.Key] = string(x.Value)
		}
		if string(got[i].Value) != want.id || h[oncekafka.HeaderID] != want.id || h[oncekafka.HeaderDeadTopic] != "orders" ||
			h[oncekafka.HeaderDeadKind] != want.kind || h[oncekafka.HeaderDeadPartition] != "0" ||
			h[oncekafka.HeaderDeadOffset] != fmt.Sprint(10*(i+1)) {
			t.Errorf("dead letter %d is %s with %q", i, got[i].Value, h)
		}
	}
	if b.end(dead) != 2 {
		t.Errorf("%d records are dead-lettered, want 2", b.end(dead))
	}
}

func TestCopyInFlightElsewhereIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	t.Run("one by one", func(t *testing.T) {
		t.Parallel()
		inFlightElsewhere(t, func(cfg *oncekafka.Config, e *effects) { cfg.Handler = e.handle })
	})
	t.Run("in batches", func(t *testing.T) {
		t.Parallel()
		inFlightElsewhere(t, func(cfg *oncekafka.Config, e *effects) {
			cfg.BatchHandler = func(_ context.Context, items []oncemsg.Item) []error {
				for _, it := range items {
					e.add(it.Message)
				}
				return nil
			}
		})
	})
}

func inFlightElsewhere(t *testing.T, handler func(*oncekafka.Config, *effects)) {
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 60)
	var e effects
	guard := newGuard(t, once.Config{Lease: time.Second})
	consumer := newConsumer(t, oncemsg.Config{Guard: guard})
	// Two copies are in the hands of somebody else; one of them will fail.
	own := func(id string) *once.Attempt {
		k, _ := consumer.Key(oncekafka.Message(record("orders", 0, id), [16]byte{}))
		other := newGuard(t, once.Config{Lease: time.Second, Store: guard.Store()})
		a, err := other.Begin(t.Context(), k, once.Fingerprint{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	done, failed := own(ids[5]), own(ids[40])
	cfg := oncekafka.Config{Options: b.options("orders"), Consumer: consumer}
	handler(&cfg, &e)
	start(t, oncekafka.Run, cfg)
	e.want(t, ids[:5])
	b.wantCommitted("orders", 0, 5)
	time.Sleep(3 * time.Second / 2) // longer than the lease, which goes on
	e.want(t, ids[:5])
	if err := done.Complete(once.Outcome{}); err != nil {
		t.Fatal(err)
	}
	b.wantCommitted("orders", 0, 40)
	e.want(t, slices.Concat(ids[:5], ids[6:40]))
	failed.Abandon(errors.New("no"))
	b.wantCommitted("orders", 0, 60)
	e.want(t, slices.Concat(ids[:5], ids[6:]))
}

func TestNothingIsLostWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 2, "orders")
	ids := b.fill("orders", 2, 200)
	var down atomic.Bool
	store := oncetest.Faulty(new(oncemem.Store), func(oncetest.Verb, int) oncetest.Fault {
		if down.Load() {
			return oncetest.Fault{Before: errors.New("connection refused")}
		}
		return oncetest.Fault{}
	})
	var e effects
	guard := newGuard(t, once.Config{Store: store, Lease: time.Second, MaxAttempts: 1 << 20})
	var n, unavailable atomic.Int64
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"),
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard, Observe: func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
			if d.Kind == oncemsg.Unavailable && unavailable.Add(1) > 4 {
				down.Store(false)
			}
		}}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if n.Add(1) == 100 {
				down.Store(true)
			}
			return e.handle(ctx, m)
		},
	})
	b.wantCommitted("orders", 0, 200)
	b.wantCommitted("orders", 1, 200)
	got := e.all()
	slices.Sort(got)
	if got := slices.Compact(got); !slices.Equal(got, ids) { // what ran and could not be recorded ran again
		t.Errorf("effects are %q, want %q", got, ids)
	}
	if b.end(dead) != 0 {
		t.Errorf("%d records are dead-lettered, want none", b.end(dead))
	}
}

func TestHandlerMayTakeLongerThanLeaseAndSession(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 2)
	var e effects
	guard := newGuard(t, once.Config{Lease: time.Second})
	start(t, oncekafka.Run, oncekafka.Config{
		Options:  append(b.options("orders"), kgo.SessionTimeout(time.Second)),
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			select {
			case <-time.After(3 * time.Second):
				return e.handle(ctx, m)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	})
	b.wantCommitted("orders", 0, 2)
	e.want(t, ids)
}

func TestConcurrencyKeepsTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	want := make(map[string][]string)
	for i := range 200 {
		r := record("orders", 0, fmt.Sprint(i))
		r.Key = fmt.Append(nil, i%7)
		want[string(r.Key)] = append(want[string(r.Key)], fmt.Sprint(i))
		b.produce(r)
	}
	var mu sync.Mutex
	got := make(map[string][]string)
	running, most := 0, 0
	failed := make(map[string]bool)
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{}), Concurrency: 4,
		Handler: func(_ context.Context, m oncemsg.Message) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			running--
			r := m.Native.(*kgo.Record)
			if v := string(r.Value); r.Offset%31 == 30 && !failed[v] {
				failed[v] = true
				return errors.New("no")
			}
			got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
			return nil
		},
	})
	b.wantCommitted("orders", 0, 200)
	mu.Lock()
	defer mu.Unlock()
	for k := range want {
		if !slices.Equal(got[k], want[k]) {
			t.Errorf("of key %s %q were handled, want %q", k, got[k], want[k])
		}
	}
	if most < 2 {
		t.Error("no two records were handled at once")
	}
}

func TestBatchHandlerIsGivenManyAndWhatFailsAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 100)
	var mu sync.Mutex
	var got []string
	largest, failures := 0, 0
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{}), Batch: 16,
		BatchHandler: func(_ context.Context, items []oncemsg.Item) []error {
			mu.Lock()
			defer mu.Unlock()
			largest = max(largest, len(items))
			errs := make([]error, len(items))
			for i, it := range items {
				if string(it.Payload) == ids[70] && failures < 3 {
					failures++
					errs[i] = errors.New("no")
					continue
				}
				got = append(got, string(it.Payload))
			}
			return errs
		},
	})
	b.wantCommitted("orders", 0, 100)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("handled are %q, want %q", got, ids)
	}
	if largest < 8 || largest > 16 {
		t.Errorf("the largest batch has %d, want at most 16 and not much less", largest)
	}
}
