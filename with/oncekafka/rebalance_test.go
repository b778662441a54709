package oncekafka_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// A rebalancing test runs over all ways in which members of a group may give partitions up; the last is
// that of KIP-848.
var protocols = map[string][]kgo.Opt{
	"cooperative": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
	"eager":       {kgo.Balancers(kgo.RangeBalancer())},
	"by broker":   {kgo.ServerSideBalancer()},
}

func TestMembersThatComeAndGoHandleEveryRecordOnce(t *testing.T) {
	t.Parallel()
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const partitions, n = 4, 150
			b := newBroker(t, partitions, "orders")
			ids := b.fill("orders", partitions, n)
			var mu sync.Mutex
			committed := make(map[int32]int64)
			b.onCommit(func(_ string, p int32, offset int64) {
				mu.Lock()
				defer mu.Unlock()
				if offset < committed[p] {
					t.Errorf("partition %d is committed at %d after %d", p, offset, committed[p])
				}
				committed[p] = offset
			})
			var e effects
			guard := newGuard(t, once.Config{Lease: 2 * time.Second})
			member := func() func() {
				return start(t, oncekafka.Run, oncekafka.Config{
					Options: append(b.options("orders"), opts...), Batch: 8,
					Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
					Handler: func(ctx context.Context, m oncemsg.Message) error {
						time.Sleep(2 * time.Millisecond) // in the middle of which rebalances come
						return e.handle(ctx, m)
					},
				})
			}
			after := func(k int) {
				t.Helper()
				eventually(t, "the members go on", func() bool { return len(e.all()) >= k })
			}
			first := member()
			after(40)
			member()
			after(200)
			first()
			after(300)
			member()
			for p := range int32(partitions) {
				b.wantCommitted("orders", p, n)
			}
			e.want(t, ids)
		})
	}
}

func TestNextOwnerWaitsForAHandlerThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 30)
	guard := newGuard(t, once.Config{Lease: time.Second})
	var e effects
	begun, release := make(chan context.Context, 1), make(chan bool)
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Drain: 10 * time.Millisecond,
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if string(m.Payload) == ids[3] {
				begun <- ctx
				<-release // whatever its context says
			}
			return e.handle(ctx, m)
		},
	})
	handler := <-begun
	stop() // goes without it
	if handler.Err() == nil {
		t.Error("the handler is not told to stop")
	}
	// Another process.
	other := newGuard(t, once.Config{Lease: time.Second, Store: guard.Store()})
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{Guard: other}), Handler: e.handle,
	})
	b.wantCommitted("orders", 0, 3)
	time.Sleep(3 * time.Second / 2) // longer than the lease
	if got := b.committed("orders", 0); got != 3 {
		t.Errorf("offset %d is committed while record 3 is being handled", got)
	}
	close(release)
	b.wantCommitted("orders", 0, 30)
	e.want(t, ids)
}

func TestRevokedRecordsFinishWithinTheDrain(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 10)
	var e effects
	begun := make(chan bool, 10)
	var cut atomic.Bool
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Drain: 30 * time.Second, Batch: 10,
		Consumer: newConsumer(t, oncemsg.Config{}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			begun <- true
			time.Sleep(300 * time.Millisecond)
			cut.Store(cut.Load() || ctx.Err() != nil)
			return e.handle(ctx, m)
		},
	})
	for range 4 {
		<-begun // the first of a batch of four
	}
	stop()
	n := len(e.all())
	if n < 4 || n > 5 || cut.Load() { // the fifth if the machine is slow
		t.Errorf("%d were handled, cut short: %t; want the fourth, which was begun, and no other", n, cut.Load())
	}
	if got := b.committed("orders", 0); got != int64(n) {
		t.Errorf("offset %d is committed, want %d", got, n)
	}
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{}), Handler: e.handle,
	})
	b.wantCommitted("orders", 0, 10)
	if got := e.all(); !slices.Equal(got, ids) {
		t.Errorf("effects are %q, want %q", got, ids)
	}
}

// A member that stops keeps its partitions until it is done with what it has in hand, also if another
// one comes meanwhile.
func TestNextMemberBeginsWhenTheStoppingOneIsDone(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 2, "orders")
	ids := b.fill("orders", 2, 10)
	var e effects
	guard := newGuard(t, once.Config{})
	begun, release := make(chan bool, 2), make(chan bool)
	stop := start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Drain: 30 * time.Second,
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			begun <- true
			<-release
			return e.handle(ctx, m)
		},
	})
	<-begun
	<-begun // in both partitions
	stopped := make(chan bool)
	go func() { stop(); close(stopped) }()
	early := atomic.Bool{}
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"),
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard, Observe: func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
			early.Store(early.Load() || d.Kind == oncemsg.InFlight)
		}}),
		Handler: e.handle,
	})
	time.Sleep(2 * time.Second) // in which the second member would be given one of the two
	close(release)
	<-stopped
	b.wantAllCommitted(2, 10)
	if e.want(t, ids); early.Load() {
		t.Error("the partition was taken from a member that was not done with it")
	}
}

func TestLostPartitionsAreNotCommitted(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 10)
	guard := newGuard(t, once.Config{Lease: time.Second})
	var e effects
	begun := make(chan context.Context, 10)
	var first atomic.Bool
	start(t, oncekafka.Run, oncekafka.Config{
		Options:  append(b.options("orders"), kgo.SessionTimeout(time.Second)),
		Consumer: newConsumer(t, oncemsg.Config{Guard: guard}),
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if string(m.Payload) == ids[4] && first.CompareAndSwap(false, true) {
				begun <- ctx
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return e.handle(ctx, m)
		},
	})
	handler := <-begun
	// The group takes the member for dead.
	b.forgetMembers()
	select {
	case <-handler.Done():
	case <-time.After(patience):
		t.Fatal("the handler is not told that its partition is lost")
	}
	b.wantCommitted("orders", 0, 10)
	e.want(t, ids)
}
