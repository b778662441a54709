package oncejetstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncejetstream"
)

// wantRefused runs a configuration that must be refused, with all of the texts.
func wantRefused(t *testing.T, cfg oncejetstream.Config, texts ...string) {
	t.Helper()
	err := oncejetstream.Run(t.Context(), cfg)
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

func TestRunRefusesAllThatIsWrong(t *testing.T) {
	t.Parallel()
	wantRefused(t, oncejetstream.Config{Concurrency: -1, Drain: -1, DeadLetterSubject: "dead.*"},
		"JetStream", "Stream", "Durable", "Consumer", "Handler", "Concurrency", "Drain", "wildcards")
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.DeadLetterSubject = ""
	wantRefused(t, cfg, "DeadLetterSubject")
}

func TestRunMakesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.Stream = "UNKNOWN"
	wantRefused(t, cfg, `stream "UNKNOWN"`, "make it first")
	cfg = l.config(l.ran)
	cfg.Durable = "unknown"
	wantRefused(t, cfg, `consumer "unknown"`, "make it first")
	cfg = l.config(l.ran)
	cfg.DeadLetterSubject = "nowhere"
	wantRefused(t, cfg, "no stream keeps", "nowhere")
	for range l.js.ListStreams(t.Context(), jetstream.WithStreamListSubject("nowhere")).Info() {
		t.Error("a stream was made")
	}
	if _, err := l.js.Stream(t.Context(), "UNKNOWN"); err == nil {
		t.Error("a stream was made")
	}
	if _, err := l.js.Consumer(t.Context(), stream, "unknown"); err == nil {
		t.Error("a consumer was made")
	}
}

func TestRunRefusesConsumersThatLoseMessages(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *jetstream.ConsumerConfig) {
		c.AckPolicy, c.MaxDeliver, c.HeadersOnly = jetstream.AckAllPolicy, 5, true
	})
	wantRefused(t, l.config(l.ran), "AckPolicy", "MaxDeliver is 5", "HeadersOnly")
	l = newLab(t, func(c *jetstream.ConsumerConfig) { c.DeliverSubject = nats.NewInbox() })
	wantRefused(t, l.config(l.ran), "pull consumer")
}

// Dead letters that come back to the consumer would go round for ever.
func TestDeadLettersMustNotComeBack(t *testing.T) {
	t.Parallel()
	for filter, refused := range map[string]bool{
		"": true, "orders.>": true, "orders.*": true, "orders.dead": true, "*.dead": true,
		"orders.new": false, "orders.*.*": false, "orders.dead.>": false,
	} {
		l := newLab(t, func(c *jetstream.ConsumerConfig) { c.FilterSubject = filter })
		cfg := l.config(l.ran)
		cfg.DeadLetterSubject = "orders.dead"
		if refused {
			wantRefused(t, cfg, "handled again")
			continue
		}
		stop := l.start(cfg)
		l.waiting()
		stop()
	}
}

func TestStreamThatKeepsLongerThanTheWindowIsWarnedOf(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.Consumer = l.consumer(func(c *oncemsg.Config) { c.Window = time.Hour })
	stop := l.start(cfg)
	l.waiting()
	stop()
	if text := l.log.text(); !strings.Contains(text, "longer than they are remembered") {
		t.Errorf("a stream that keeps messages for ever, and a window of an hour: logged %q", text)
	}
	l.log.buf.Reset()
	s := jetstream.StreamConfig{Name: stream, Subjects: []string{"orders.>"}, MaxAge: time.Hour}
	if _, err := l.js.UpdateStream(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	stop = l.start(cfg)
	l.waiting()
	stop()
	if text := l.log.text(); text != "" {
		t.Errorf("a stream that keeps messages for an hour, and a window of an hour: logged %q", text)
	}
}

// What is deleted while it is consumed ends Run, which does not wait for ever for what will not come.
func TestConsumerThatIsDeletedEndsRun(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ended := make(chan error, 1)
	go func() { ended <- oncejetstream.Run(t.Context(), l.config(l.ran)) }()
	l.waiting()
	if err := l.js.DeleteConsumer(t.Context(), stream, durable); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "make it first") {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Error("Run goes on")
	}
}

func TestConnectionThatIsClosedEndsRun(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ended := make(chan error, 1)
	go func() { ended <- oncejetstream.Run(t.Context(), l.config(l.ran)) }()
	l.waiting()
	l.js.Conn().Close()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Error("Run goes on")
	}
}
