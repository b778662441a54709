package onceamqp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceamqp"
)

// wantRefused runs a configuration that must be refused, with all of the texts.
func wantRefused(t *testing.T, cfg onceamqp.Config, texts ...string) {
	t.Helper()
	err := onceamqp.Run(t.Context(), cfg)
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

func TestRunRefusesAllThatIsWrong(t *testing.T) {
	t.Parallel()
	wantRefused(t, onceamqp.Config{Concurrency: -1, Prefetch: -2, Keep: -1, Drain: -1},
		"Dial", "Queue", "Consumer", "Handler", "DeadLetterKey", "Concurrency", "Prefetch", "Keep", "Drain")
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.QueueDeadLetters = true
	wantRefused(t, cfg, "choose one")
	cfg = l.config(l.ran)
	cfg.DeadLetterKey = cfg.Queue
	wantRefused(t, cfg, "handled again")
}

func TestRunMakesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.Queue, cfg.DeadLetterKey = "nowhere", "nobody"
	wantRefused(t, cfg, `queue "nowhere"`, `queue "nobody"`, "make it first")
	cfg.DeadLetterExchange = "nothing"
	wantRefused(t, cfg, `queue "nowhere"`, `exchange "nothing"`)
	if _, err := l.ch.QueueDeclarePassive("nowhere", false, false, false, false, nil); err == nil {
		t.Error("a queue was made")
	}
}

func TestRunRefusesConnectionsThatRecover(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	cfg := l.config(l.ran)
	cfg.Dial = func() (*amqp091.Connection, error) {
		return amqp091.DialConfig(rabbit.URL, amqp091.Config{Recovery: &amqp091.Recovery{}})
	}
	wantRefused(t, cfg, "recovers by itself")
}

func TestRunNeedsABrokerAtTheStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.url = "amqp://guest:wrong@" + rabbit.Addr
	wantRefused(t, l.config(l.ran), "connect")
}

// What is deleted while it is consumed ends Run, which does not wait for ever for what will not come.
func TestQueueThatIsDeletedEndsRun(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- onceamqp.Run(ctx, l.config(l.ran)) }()
	l.publish("a")
	l.ended(1, oncemsg.Ran)
	if _, err := l.ch.QueueDelete(l.queue, false, false, false); err != nil {
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
