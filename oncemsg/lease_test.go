package oncemsg_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

// A lease is that of a broker: it counts when it was extended, and how often it ran out.
type lease struct {
	every time.Duration

	mu      sync.Mutex // guards the rest
	ends    time.Time
	calls   int
	lapses  int
	failing int // so many calls fail
}

func newLease(every time.Duration) *lease { return &lease{every: every, ends: time.Now().Add(every)} }

func (l *lease) extend(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.failing > 0 {
		l.failing--
		return errNet
	}
	if time.Now().After(l.ends) {
		l.lapses++
	}
	l.ends = time.Now().Add(l.every)
	return nil
}

func (l *lease) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().After(l.ends)
}

func (l *lease) message() oncemsg.Message {
	m := message
	m.Lease, m.Verbs.Extend = l.every, l.extend
	return m
}

func TestBothLeasesAreKeptWhileTheHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, l, r := new(oncemem.Store), newLease(30*time.Second), new(runs)
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		ended := make(chan oncemsg.Decision, 1)
		go func() { ended <- c.Handle(t.Context(), l.message(), sleeping(time.Hour, r.handle)) }()
		for range 59 {
			time.Sleep(time.Minute)
			wantDecision(t, other.Handle(t.Context(), message, r.handle), oncemsg.InFlight, oncemsg.Retry)
			if l.over() {
				t.Fatal("the broker's lease is over while the handler runs")
			}
		}
		wantDecision(t, <-ended, oncemsg.Ran, oncemsg.Ack)
		calls := l.calls
		if l.lapses != 0 || calls < 118 || calls > 365 {
			t.Errorf("lease lapsed %d times, and was extended %d times", l.lapses, calls)
		}
		time.Sleep(time.Hour)
		if l.calls != calls {
			t.Error("the broker's lease was extended after the message was decided")
		}
	})
}

func TestWrappedHandlerKeepsTheLeaseThatIsDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := newConsumer(t, oncemsg.Config{}), newLease(30*time.Second)
		describe := func(int) oncemsg.Message { return l.message() }
		handle := oncemsg.Wrap(c, describe, func(context.Context, int) error {
			time.Sleep(time.Hour)
			return nil
		})
		if err := handle(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if l.lapses != 0 || l.calls < 118 {
			t.Errorf("lease lapsed %d times, and was extended %d times", l.lapses, l.calls)
		}
	})
}

func TestFastHandlerDoesNotExtendTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, r := newConsumer(t, oncemsg.Config{}), newLease(30*time.Second), new(runs)
		c.Handle(t.Context(), l.message(), sleeping(time.Second, r.handle))
		time.Sleep(time.Hour)
		if l.calls != 0 {
			t.Errorf("extended %d times", l.calls)
		}
	})
}

// A message that has waited in the consumer's own buffer has little left of its lease.
func TestLeaseThatHasBegunIsExtendedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, r := newConsumer(t, oncemsg.Config{}), newLease(30*time.Second), new(runs)
		m := l.message()
		m.Deadline = l.ends
		time.Sleep(29 * time.Second)
		c.Handle(t.Context(), m, sleeping(10*time.Second, r.handle))
		if l.lapses != 0 || l.calls == 0 || time.Now().After(l.ends) {
			t.Errorf("lapsed %d times, extended %d times", l.lapses, l.calls)
		}
	})
}

func TestExtensionIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, r := newConsumer(t, oncemsg.Config{}), newLease(30*time.Second), new(runs)
		l.failing = 3
		c.Handle(t.Context(), l.message(), sleeping(5*time.Minute, r.handle))
		if l.lapses != 0 || l.failing != 0 {
			t.Errorf("lapsed %d times", l.lapses)
		}
		r.want(t, 1)
	})
}

// The broker's lease is nothing to the claim: a copy that is delivered finds the original.
func TestBrokerThatDoesNotExtendDoesNotStopTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, r := newConsumer(t, oncemsg.Config{}), newLease(30*time.Second), new(runs)
		l.failing = 1 << 30
		d := c.Handle(t.Context(), l.message(), sleeping(time.Hour, r.handle))
		wantDecision(t, d, oncemsg.Ran, oncemsg.Ack)
	})
}

// A broker that hangs must not keep the message from being decided.
func TestHangingExtensionEndsWithTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConsumer(t, oncemsg.Config{}), new(runs)
		m := message
		m.Lease = 30 * time.Second
		m.Verbs.Extend = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		start := time.Now()
		wantDecision(t, c.Handle(t.Context(), m, sleeping(11*time.Second, r.handle)), oncemsg.Ran, oncemsg.Ack)
		if took := time.Since(start); took != 11*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A handler that goes on after its consumer was told to stop still has the message in hand.
func TestBothLeasesAreKeptUntilADeafHandlerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, l, r := new(oncemem.Store), newLease(30*time.Second), new(runs)
		c := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		other := newConsumer(t, oncemsg.Config{Guard: newGuard(t, once.Config{Store: store})})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errors.New("stopping")) })
		ended := make(chan oncemsg.Decision, 1)
		go func() {
			ended <- c.Handle(ctx, l.message(), func(context.Context, oncemsg.Message) error {
				time.Sleep(time.Hour)
				return nil
			})
		}()
		for range 59 {
			time.Sleep(time.Minute)
			wantDecision(t, other.Handle(t.Context(), message, r.handle), oncemsg.InFlight, oncemsg.Retry)
			if l.over() {
				t.Fatal("the broker's lease is over while the handler runs")
			}
		}
		wantDecision(t, <-ended, oncemsg.Ran, oncemsg.Ack)
		calls := l.calls
		time.Sleep(time.Hour)
		if l.lapses != 0 || l.calls != calls {
			t.Errorf("lease lapsed %d times, and was extended %d times after the end", l.lapses, l.calls-calls)
		}
	})
}
