package oncemsg_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// said are the verbs that a broker was told.
type said struct {
	what  string
	after time.Duration
	at    time.Time
}

func (s *said) message(delays bool) oncemsg.Message {
	m := message
	m.Verbs = oncemsg.Verbs{
		Ack: func(ctx context.Context) error { s.what += "ack "; return ctx.Err() },
		Nak: func(ctx context.Context, after time.Duration) error {
			s.what += "nak "
			s.after, s.at = after, time.Now()
			return ctx.Err()
		},
		Delays:     delays,
		DeadLetter: func(ctx context.Context, reason string) error { s.what += reason + " "; return ctx.Err() },
	}
	return m
}

func TestConsumeTellsTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newConsumer(t, oncemsg.Config{}), new(said)
		r := &runs{errs: []error{errNet, nil, once.Final(errNet)}}
		m, start := s.message(true), time.Now()
		for range 3 {
			if _, err := c.Consume(t.Context(), m, r.handle); err != nil {
				t.Fatal(err)
			}
		}
		m.ID = "8"
		c.Consume(t.Context(), m, r.handle)
		if s.what != "nak ack ack rejected: connection reset " || s.after <= 0 || !s.at.Equal(start) {
			t.Errorf("said %q, after %v at %v", s.what, s.after, s.at.Sub(start))
		}
	})
}

// A broker that cannot wait is asked when it is time; meanwhile it must not deliver by itself.
func TestConsumeWaitsForABrokerThatCannotDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newConsumer(t, oncemsg.Config{Backoff: func(int) time.Duration { return 5 * time.Minute }}), new(said)
		m := s.message(false)
		l := newLease(30 * time.Second)
		m.Lease, m.Verbs.Extend = l.every, l.extend
		start := time.Now()
		if _, err := c.Consume(t.Context(), m, (&runs{errs: []error{errNet}}).handle); err != nil {
			t.Fatal(err)
		}
		if s.what != "nak " || s.at.Sub(start) != 5*time.Minute || l.lapses != 0 || l.calls == 0 {
			t.Errorf("said %q after %v, lease lapsed %d times of %d", s.what, s.at.Sub(start), l.lapses, l.calls)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.what, start = "", time.Now()
		m.ID = "8"
		c.Consume(ctx, m, (&runs{errs: []error{errNet}}).handle)
		if s.what != "nak " || s.after != 0 || time.Since(start) != time.Second {
			t.Errorf("stopping, said %q, after %v", s.what, s.after)
		}
	})
}

func TestSettleLosesNothingThatTheBrokerCannotSay(t *testing.T) {
	c, s := newConsumer(t, oncemsg.Config{}), new(said)
	m := s.message(true)
	m.Verbs.DeadLetter = nil
	rejected := oncemsg.Decision{Kind: oncemsg.Rejected, Verb: oncemsg.DeadLetter, Err: errNet}
	if err := c.Settle(t.Context(), m, rejected); err != nil || s.what != "nak " || s.after <= 0 {
		t.Errorf("said %q after %v: %v", s.what, s.after, err)
	}
	m.Verbs.Nak, s.what = nil, ""
	failed := oncemsg.Decision{Kind: oncemsg.Failed, Verb: oncemsg.Retry, After: time.Hour, Err: errNet}
	if err := c.Settle(t.Context(), m, failed); err != nil || s.what != "" {
		t.Errorf("said %q: %v", s.what, err)
	}
	if err := c.Settle(t.Context(), message, rejected); err == nil {
		t.Error("settled a message that cannot be acknowledged")
	}
}

// What was decided is said although the consumer is being stopped: else the message comes again.
func TestSettleOutlivesTheConsumer(t *testing.T) {
	c, s := newConsumer(t, oncemsg.Config{}), new(said)
	ctx, cancel := context.WithCancel(t.Context())
	d, err := c.Consume(ctx, s.message(true), func(context.Context, oncemsg.Message) error { cancel(); return nil })
	if err != nil || d.Verb != oncemsg.Ack || s.what != "ack " {
		t.Errorf("said %q: %v, %v", s.what, d, err)
	}
}
