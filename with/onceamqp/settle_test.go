package onceamqp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceamqp"
)

// What fails is handled again after its delay; what always fails is set aside with all that it was.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "x-queue-type", kind)
			stop := l.start(l.config(func(ctx context.Context, m oncemsg.Message) error {
				l.ran(ctx, m)
				l.mu.Lock()
				defer l.mu.Unlock()
				if m.ID == "poison" || l.runs[m.ID] == 1 {
					return errors.New("failed badly")
				}
				return nil
			}))
			sent := time.Now().Add(-time.Hour).Truncate(time.Second)
			for _, id := range []string{"flaky", "poison"} {
				l.send(amqp091.Publishing{
					MessageId: id, Body: []byte("pay " + id), ContentType: "text/plain", Type: "order",
					CorrelationId: "c", Timestamp: sent, UserId: "guest", Expiration: "3600000",
					Headers: amqp091.Table{"tenant": "acme"},
				})
			}
			l.ended(1, oncemsg.Ran)
			l.ended(1, oncemsg.Poisoned)
			stop()
			l.wantEmpty()
			l.wantRuns("flaky", 2)
			l.wantRuns("poison", 3)
			letters := l.letters()
			if len(letters) != 1 {
				t.Fatalf("%d dead letters, want 1", len(letters))
			}
			d := letters[0]
			reason, _ := d.Headers[onceamqp.HeaderDeadReason].(string)
			if d.MessageId != "poison" || string(d.Body) != "pay poison" || d.ContentType != "text/plain" ||
				d.Type != "order" || d.CorrelationId != "c" || !d.Timestamp.Equal(sent) ||
				d.DeliveryMode != amqp091.Persistent || d.Expiration != "" || d.Headers["tenant"] != "acme" ||
				d.Headers[onceamqp.HeaderDeadQueue] != l.queue || d.Headers[onceamqp.HeaderDeadRoutingKey] != l.queue ||
				d.Headers[onceamqp.HeaderDeadExchange] != "" || !strings.Contains(reason, "failed badly") {
				t.Errorf("dead letter %+v", d)
			}
			// A dead letter is the message that it was: it can be forgotten.
			if err := l.consumer().Forget(t.Context(), onceamqp.Message(l.dead, d)); err != nil {
				t.Errorf("forget: %v", err)
			}
		})
	}
}

// A queue that has a dead-letter exchange of its own is left to it.
func TestQueueDeadLetters(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.queue += ".own"
	l.declare(l.queue, amqp091.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": l.dead})
	cfg := l.config(func(context.Context, oncemsg.Message) error { return errors.New("failed") })
	cfg.DeadLetterKey, cfg.QueueDeadLetters = "", true
	l.start(cfg)
	l.publish("a")
	var letters []amqp091.Delivery
	eventually(t, "it is dead-lettered", func() bool {
		letters = append(letters, l.letters()...)
		return len(letters) > 0
	})
	if letters[0].MessageId != "a" || letters[0].Headers["x-death"] == nil {
		t.Errorf("dead letter %+v", letters[0])
	}
}

// A message that nothing names cannot be told from others, and is set aside; a CloudEvent is named.
func TestNames(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop := l.start(l.config(func(_ context.Context, m oncemsg.Message) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.runs[string(m.Payload)]++
		return nil
	}))
	l.send(amqp091.Publishing{Body: []byte("unnamed")})
	const event = `{"specversion":"1.0","id":"1","source":"/shop","type":"order"}`
	for range 2 {
		l.send(amqp091.Publishing{Body: []byte("binary"),
			Headers: amqp091.Table{"cloudEvents:id": "0", "cloudEvents:source": "/shop"}})
		l.send(amqp091.Publishing{Body: []byte(event), ContentType: "application/cloudevents+json; charset=utf-8"})
	}
	l.ended(1, oncemsg.Unnamed)
	l.ended(4, oncemsg.Ran, oncemsg.Duplicate)
	stop()
	l.wantEmpty()
	l.wantRuns("unnamed", 0)
	l.wantRuns("binary", 1)
	l.wantRuns(event, 1)
	if letters := l.letters(); len(letters) != 1 || string(letters[0].Body) != "unnamed" {
		t.Errorf("%d dead letters, want the one without a name", len(letters))
	}
}

// A dead letter that no queue takes is not dropped: its message stays until one does.
func TestDeadLetterThatCannotBeRoutedIsNotLost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	exchange := l.queue + ".x"
	if err := l.ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	cfg := l.config(func(context.Context, oncemsg.Message) error { return errors.New("failed") })
	cfg.DeadLetterExchange, cfg.DeadLetterKey = exchange, "letters"
	stop := l.start(cfg)
	l.publish("a")
	eventually(t, "the broker says that there is no queue", func() bool {
		return strings.Contains(l.log.text(), "leads to no queue")
	})
	if err := l.ch.QueueBind(l.dead, "letters", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	var letters []amqp091.Delivery
	eventually(t, "it is dead-lettered", func() bool {
		letters = append(letters, l.letters()...)
		return len(letters) > 0
	})
	stop()
	l.wantEmpty()
	if letters = append(letters, l.letters()...); len(letters) != 1 || letters[0].MessageId != "a" {
		t.Errorf("%d dead letters", len(letters))
	}
}

func newPublisher(l *lab) *onceamqp.Publisher {
	l.Helper()
	p, err := onceamqp.NewPublisher(onceamqp.PublisherConfig{Dial: l.dial})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { p.Close() })
	return p
}

// Outputs are published before the message is acknowledged, and again, with the same ids, for a
// copy. An output that no queue takes is an error, until one does.
func TestOutputsAreNotLost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.queue + ".out"
	cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
		l.ran(ctx, m)
		outputs := make([]oncemsg.Output, 100) // more than wait for confirmation at once
		for i := range outputs {
			outputs[i] = oncemsg.Output{To: out, Payload: []byte{byte(i)}, Headers: map[string]string{"kind": "pdf"}}
		}
		return oncemsg.Emit(ctx, outputs...)
	})
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) { c.Publish = newPublisher(l).Publish })
	stop := l.start(cfg)
	l.publish("a")
	l.ended(2, oncemsg.Unpublished)
	l.declare(out, nil)
	l.ended(1, oncemsg.Ran, oncemsg.Duplicate)
	first := l.take(out)
	l.publish("a")
	l.ended(2, oncemsg.Ran, oncemsg.Duplicate)
	stop()
	l.wantEmpty()
	l.wantRuns("a", 1)
	second := l.take(out)
	if len(first) != 100 || len(second) != 100 {
		t.Fatalf("%d outputs, and %d for the copy; want 100 each", len(first), len(second))
	}
	ids := make(map[string]bool)
	for i, d := range first {
		ids[d.MessageId] = true
		if d.MessageId == "" || d.MessageId != second[i].MessageId || d.Body[0] != byte(i) ||
			d.Headers["kind"] != "pdf" || d.DeliveryMode != amqp091.Persistent {
			t.Fatalf("output %d is %+v, its copy %+v", i, d, second[i])
		}
	}
	if len(ids) != 100 {
		t.Errorf("100 outputs have %d ids", len(ids))
	}
}

// A publisher says what is wrong, and goes on afterwards.
func TestPublisherGoesOnAfterErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	exchange := "nowhere"
	p, err := onceamqp.NewPublisher(onceamqp.PublisherConfig{
		Dial:  l.dial,
		Route: func(o oncemsg.Output) (string, string) { return exchange, o.To },
	})
	if err != nil {
		t.Fatal(err)
	}
	out := []oncemsg.Output{{To: l.queue, ID: "1"}}
	if err := p.Publish(t.Context(), out); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("to an exchange that is not there: error %v", err)
	}
	exchange = ""
	if err := p.Publish(t.Context(), []oncemsg.Output{{To: "nobody"}}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("to a queue that is not there: error %v", err)
	}
	if err := p.Publish(t.Context(), out); err != nil {
		t.Error(err)
	}
	if got := l.take(l.queue); len(got) != 1 || got[0].MessageId != "1" {
		t.Errorf("published %d messages, want 1", len(got))
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Publish(t.Context(), out); err == nil {
		t.Error("published after Close")
	}
	if _, err := onceamqp.NewPublisher(onceamqp.PublisherConfig{}); err == nil {
		t.Error("made without Dial")
	}
}
