package oncekafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
)

// An item is a record and what has come of it so far. It belongs to one goroutine at a time.
type item struct {
	rec *kgo.Record
	msg oncemsg.Message

	dealt    bool          // it may be committed
	kind     oncemsg.Kind  // of the latest decision; zero: there was none
	after    time.Duration // when to handle it again
	failures int           // of its handler, in this process
}

func (it *item) size() int { return len(it.rec.Key) + len(it.rec.Value) }

// message is the next delivery of the record.
func (it *item) message() oncemsg.Message {
	m := it.msg
	m.Attempt = it.failures + 1
	return m
}

// soon is how long a record waits at most for what may be over before it was announced: a copy in
// flight, or an own claim of which nobody knows if it stands.
const soon = time.Second

// settle takes note of a decision, and dead-letters.
func (h *handling) settle(ctx context.Context, it *item, d oncemsg.Decision) {
	it.kind, it.after = d.Kind, d.After
	switch {
	case d.Verb == oncemsg.Ack:
		it.dealt = true
	case d.Verb == oncemsg.DeadLetter:
		it.failures++ // to send it
		it.after = h.consumer.Config().Backoff(it.failures)
		if h.cfg.DeadLetterTopic == "" {
			return // what the consumer's DeadLetter did not take
		}
		if err := deadLetter(ctx, h.cl, h.cfg.DeadLetterTopic, it, d); err != nil {
			h.consumer.Config().Logger.Error("oncekafka: record could not be dead-lettered and will be handled again",
				"topic", it.rec.Topic, "partition", it.rec.Partition, "kind", d.Kind.String(), "error", err)
			if h.failed != nil {
				h.failed.Store(true)
			}
			return
		}
		it.dealt = true
	case d.Kind == oncemsg.InFlight || d.Kind == oncemsg.Unacknowledged:
		it.after = min(it.after, soon)
	case d.Kind == oncemsg.Failed && !errors.Is(d.Err, errHeld):
		it.failures++
	}
}
