package oncejetstream_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncejetstream"
)

// byMessageID reads ids from a header that the server does not look at.
func (l *lab) byMessageID(h oncemsg.Handler) oncejetstream.Config {
	cfg := l.config(h)
	cfg.IDHeader = "message-id"
	return cfg
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
	for range 2 {
		cfg := l.byMessageID(l.ran)
		cfg.JetStream = l.connect()
		l.start(cfg)
	}
	l.settled(2 * n)
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
}

// The header that the server itself looks at names a message as well, also after the server has
// forgotten it.
func TestMsgIDIsTheDefault(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start(l.config(l.ran))
	send := func() {
		l.send(&nats.Msg{Subject: subject, Data: []byte("a"), Header: nats.Header{jetstream.MsgIDHeader: {"a"}}})
	}
	s, err := l.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	if _, err := l.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	send()
	eventually(t, "the server forgets the id", func() bool {
		send()
		info, err := s.Info(t.Context())
		return err == nil && info.State.LastSeq == 2
	})
	l.settled(2)
	l.wantRuns("a", 1)
}

// Messages that nobody has named are told apart by where they are, and two of the same contents are two.
func TestUnnamedMessagesAreTwo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var weak atomic.Int32
	cfg := l.config(l.ran)
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) {
		c.Observe = func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) {
			if d.Weak && d.Kind == oncemsg.Ran {
				weak.Add(1)
			}
		}
	})
	l.start(cfg)
	for range 2 {
		l.send(&nats.Msg{Subject: subject, Data: []byte("same")})
	}
	l.settled(2)
	l.wantRuns("same", 2)
	if weak.Load() != 2 {
		t.Errorf("%d weak keys, want 2", weak.Load())
	}
}

// Sequences begin anew when a stream is made anew; a message at the same place is another one.
func TestStreamMadeAnewHasOtherMessages(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for round := range 2 {
		stop := l.start(l.config(l.ran))
		l.send(&nats.Msg{Subject: subject, Data: []byte("first")})
		l.settled(1)
		stop()
		l.wantRuns("first", round+1)
		if err := l.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
		_, err := l.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{"orders.>"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.js.CreateConsumer(t.Context(), stream,
			jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A handler that takes much longer than AckWait keeps its message.
func TestSlowHandlersKeepTheirMessages(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *jetstream.ConsumerConfig) { c.AckWait = 5 * time.Second })
	var attempt atomic.Int32
	cfg := l.byMessageID(func(ctx context.Context, m oncemsg.Message) error {
		attempt.Store(int32(m.Attempt))
		time.Sleep(8 * time.Second)
		return l.ran(ctx, m)
	})
	l.start(cfg)
	l.publish("slow")
	l.settled(1)
	l.wantRuns("slow", 1)
	c, err := l.js.Consumer(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.CachedInfo().Delivered.Consumer; n != 1 {
		t.Errorf("it was delivered %d times, want once", n)
	}
	if attempt.Load() < 1 {
		t.Error("the handler was not told the number of its delivery")
	}
}

// No more messages are pulled than can be handled: those behind wait on the server, where others get
// them.
func TestNoMessageWaitsInTheClient(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	release := make(chan struct{})
	blocked := l.byMessageID(func(ctx context.Context, m oncemsg.Message) error {
		<-release
		return l.ran(ctx, m)
	})
	blocked.Concurrency = 2
	l.start(blocked)
	for i := range 6 {
		l.publish(fmt.Sprint(i))
	}
	c, err := l.js.Consumer(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "two are being handled", func() bool {
		info, err := c.Info(t.Context())
		return err == nil && info.NumAckPending == 2
	})
	other := l.byMessageID(l.ran)
	other.JetStream = l.connect()
	l.start(other)
	eventually(t, "the other process handles the rest", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.runs) == 4
	})
	close(release)
	l.settled(6)
	for i := range 6 {
		l.wantRuns(fmt.Sprint(i), 1)
	}
}

// A copy of what another process is handling is not acknowledged, for the original may still fail.
func TestCopiesInFlightAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	started, release := make(chan struct{}, 1), make(chan struct{})
	first := l.byMessageID(func(context.Context, oncemsg.Message) error {
		started <- struct{}{}
		<-release
		return errors.New("failed after all")
	})
	first.Concurrency = 1
	stop := l.start(first)
	l.publish("a")
	<-started
	l.publish("a")
	second := l.byMessageID(l.ran)
	second.JetStream = l.connect()
	inFlight := make(chan struct{}, 1000)
	second.Consumer = l.consumer(observing(func(_ oncemsg.Message, k oncemsg.Kind) {
		if k == oncemsg.InFlight {
			inFlight <- struct{}{}
		}
	}))
	l.start(second)
	select {
	case <-inFlight:
	case <-time.After(patience):
		t.Fatal("the copy was not found to be in flight")
	}
	l.wantRuns("a", 0)
	c, err := l.js.Consumer(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.CachedInfo().NumAckPending; n != 2 {
		t.Errorf("of two copies in flight %d are not acknowledged", n)
	}
	close(release)
	stop()
	l.settled(2)
	l.wantRuns("a", 1)
}

// While the store is down nothing is run, nothing acknowledged, and nothing dead-lettered.
func TestStoreThatIsDownLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	store := &shakyStore{Store: new(oncemem.Store)}
	store.down.Store(true)
	l.store = store
	var refused atomic.Int32
	cfg := l.byMessageID(l.ran)
	cfg.Consumer = l.consumer(observing(func(_ oncemsg.Message, k oncemsg.Kind) {
		if k == oncemsg.Unavailable {
			refused.Add(1)
		}
	}))
	l.start(cfg)
	const n = 20
	for i := range n {
		l.publish(fmt.Sprint(i))
	}
	eventually(t, "each is refused several times", func() bool { return refused.Load() > 4*n })
	store.down.Store(false)
	l.settled(n)
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
	if letters := len(l.kept("DEAD")); letters != 0 {
		t.Errorf("%d dead letters", letters)
	}
}

// What is being handled when Run is stopped is finished and acknowledged; a handler that takes longer than
// Drain finds its context done.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *jetstream.ConsumerConfig) { c.AckWait = 10 * patience })
	started, release := make(chan struct{}), make(chan struct{})
	cfg := l.byMessageID(func(ctx context.Context, m oncemsg.Message) error {
		started <- struct{}{}
		if m.ID == "deaf" {
			<-ctx.Done()
			return ctx.Err()
		}
		<-release
		return l.ran(ctx, m)
	})
	cfg.Drain = patience
	stop := l.start(cfg)
	l.publish("a")
	<-started
	go func() { time.Sleep(50 * time.Millisecond); close(release) }()
	stop()
	l.settled(1)
	l.wantRuns("a", 1)

	cfg.Drain = time.Millisecond
	stop = l.start(cfg)
	l.publish("deaf")
	<-started
	stop() // returns
}
