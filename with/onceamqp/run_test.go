package onceamqp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

// A broker that is killed and comes back is read on: nothing is lost and nothing run twice. This test runs
// alone.
func TestBrokerThatIsKilledIsReadOn(t *testing.T) {
	l := newLab(t)
	const n = 40
	for i := range n {
		l.publish(fmt.Sprint(i))
	}
	half, resume := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
		if m.ID == "20" && once.CompareAndSwap(false, true) {
			close(half)
			<-resume
		}
		return l.ran(ctx, m)
	})
	cfg.Concurrency = 4
	stop := l.start(cfg)
	<-half
	rabbit.Kill()
	close(resume) // it is done while there is no broker
	rabbit.Restart(t)
	l.reconnect()
	l.publish("after")
	eventually(t, "what was published after that is handled", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.runs) == n+1
	})
	l.ended(1, oncemsg.Duplicate) // at least the one that was being handled comes again
	eventually(t, "the queue is empty", func() bool {
		q, err := l.ch.QueueDeclarePassive(l.queue, true, false, false, false, nil)
		return err == nil && q.Messages == 0
	})
	stop()
	l.wantEmpty()
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
	l.wantRuns("after", 1)
}

// What a producer publishes twice is handled once, by whichever process gets it.
func TestCopiesAreHandledOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const n = 100
	for i := range n {
		l.publish(fmt.Sprint(i))
		l.publish(fmt.Sprint(i))
	}
	stop, stopOther := l.start(l.config(l.ran)), l.start(l.config(l.ran))
	l.ended(2*n, oncemsg.Ran, oncemsg.Duplicate)
	stop()
	stopOther()
	l.wantEmpty()
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
}

// A handler that is running when its connection is lost goes on; its copy, which the broker delivers at once,
// waits for it and is not run.
func TestHandlersOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	proxy := servers.NewProxy(t, rabbit.Addr)
	l.url = strings.Replace(rabbit.URL, rabbit.Addr, proxy.Addr, 1)
	started, resume := make(chan struct{}, 10), make(chan struct{})
	stop := l.start(l.config(func(ctx context.Context, m oncemsg.Message) error {
		started <- struct{}{}
		<-resume
		return l.ran(ctx, m)
	}))
	l.publish("a")
	<-started
	proxy.Cut()
	proxy.Mend()
	l.ended(2, oncemsg.InFlight)
	close(resume)
	l.ended(1, oncemsg.Duplicate)
	stop()
	l.wantEmpty()
	l.wantRuns("a", 1)
}

// A handler that takes longer than the broker's consumer timeout loses its channel, and every message on it comes
// again; it goes on, and its copy waits for it and is not run.
func TestHandlersOutliveTheConsumerTimeout(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	resume := make(chan struct{})
	stop := l.start(l.config(func(ctx context.Context, m oncemsg.Message) error {
		<-resume
		return l.ran(ctx, m)
	}))
	l.publish("slow")
	l.ended(1, oncemsg.InFlight)
	close(resume)
	l.ended(1, oncemsg.Duplicate)
	stop()
	l.wantEmpty()
	l.wantRuns("slow", 1)
	if !strings.Contains(l.log.text(), "PRECONDITION_FAILED") {
		t.Errorf("the broker's reason was not logged")
	}
}

// A copy of what another process is handling is not acknowledged, for the original may still fail.
func TestCopiesInFlightAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	started, release := make(chan struct{}, 1), make(chan struct{})
	first := l.config(func(context.Context, oncemsg.Message) error {
		started <- struct{}{}
		<-release
		return errors.New("failed after all")
	})
	first.Concurrency, first.Prefetch = 1, 1
	stop := l.start(first)
	l.publish("a")
	<-started
	l.publish("a")
	stopOther := l.start(l.config(l.ran))
	l.ended(1, oncemsg.InFlight)
	l.wantRuns("a", 0)
	close(release)
	stop()
	l.ended(2, oncemsg.Ran, oncemsg.Duplicate)
	stopOther()
	l.wantEmpty()
	l.wantRuns("a", 1)
}

// While the store is down nothing is run, acknowledged or dead-lettered, and no delivery is used up, even
// on a queue that would drop a message after two.
func TestStoreThatIsDownLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, "x-queue-type", "quorum", "x-delivery-limit", int32(2))
	store := &shakyStore{Store: new(oncemem.Store)}
	store.down.Store(true)
	l.store = store
	stop := l.start(l.config(l.ran))
	const n = 20
	for i := range n {
		l.publish(fmt.Sprint(i))
	}
	l.ended(6*n, oncemsg.Unavailable)
	store.down.Store(false)
	l.ended(n, oncemsg.Ran)
	stop()
	l.wantEmpty()
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
	if n := len(l.letters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A message that waits to be handled again takes up no handler.
func TestMessagesThatWaitDoNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		if m.ID == "failing" {
			return errors.New("failed")
		}
		return nil
	})
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) {
		c.Backoff = func(int) time.Duration { return 10 * patience }
	})
	cfg.Concurrency = 1
	stop := l.start(cfg)
	l.publish("failing")
	l.ended(1, oncemsg.Failed)
	for i := range 10 {
		l.publish(fmt.Sprint(i))
	}
	l.ended(10, oncemsg.Ran)
	stop() // does not wait, and gives back what does
	if left := l.take(l.queue); len(left) != 1 || left[0].MessageId != "failing" {
		t.Errorf("%d messages were given back, want the failing one", len(left))
	}
}

// A message is given back when it has been kept long enough. A quorum queue counts that.
func TestMessagesAreNotKeptForEver(t *testing.T) {
	t.Parallel()
	l := newLab(t, "x-queue-type", "quorum")
	store := &shakyStore{Store: new(oncemem.Store)}
	store.down.Store(true)
	l.store = store
	var attempts atomic.Int64
	cfg := l.config(func(_ context.Context, m oncemsg.Message) error {
		attempts.Store(m.Native.(amqp091.Delivery).Headers["x-delivery-count"].(int64) + 1)
		return nil
	})
	cfg.Keep = time.Millisecond
	l.start(cfg)
	l.publish("a")
	l.ended(3, oncemsg.Unavailable)
	store.down.Store(false)
	l.ended(1, oncemsg.Ran)
	if n := attempts.Load(); n < 3 {
		t.Errorf("it was handled in delivery %d, after it was given back twice at least", n)
	}
}

// What is being handled when Run is stopped is finished and acknowledged; a handler that takes longer than
// Drain finds its context done, and its message comes again.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	started, release := make(chan struct{}), make(chan struct{})
	cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
		started <- struct{}{}
		if m.ID == "deaf" {
			<-ctx.Done()
			return ctx.Err()
		}
		<-release
		return l.ran(ctx, m)
	})
	stop := l.start(cfg)
	l.publish("a")
	<-started
	go func() { time.Sleep(50 * time.Millisecond); close(release) }()
	stop()
	l.wantEmpty()
	l.wantRuns("a", 1)

	cfg.Drain = time.Millisecond
	stop = l.start(cfg)
	l.publish("deaf")
	<-started
	stop()
	if left := l.take(l.queue); len(left) != 1 || left[0].MessageId != "deaf" || !left[0].Redelivered {
		t.Errorf("%d messages were given back, want the one that did not finish", len(left))
	}
}
