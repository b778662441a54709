package oncekafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
)

// Headers of a dead-lettered record, beside its own: why it is there, and where it was first. [Message]
// reads them, so that a dead letter, also one that is moved back, is the record that it was.
const (
	HeaderDeadKind      = "once-dead-kind"  // oncemsg.Kind
	HeaderDeadError     = "once-dead-error" // the text of Decision.Err, cut to 1 KiB
	HeaderDeadTopic     = "once-dead-topic"
	HeaderDeadTopicID   = "once-dead-topic-id" // in hexadecimal; empty if the brokers do not tell
	HeaderDeadPartition = "once-dead-partition"
	HeaderDeadOffset    = "once-dead-offset"
)

const (
	deadPrefix     = "once-dead-"     // of all those names
	deadLetterTime = 30 * time.Second // for the brokers to acknowledge
	maxDeadError   = 1 << 10
)

// deadLetter sends the record to the topic for such, with its key, value, headers, and so its id.
func deadLetter(ctx context.Context, cl *kgo.Client, topic string, it *item, d oncemsg.Decision) error {
	ctx, cancel := context.WithTimeout(ctx, deadLetterTime)
	defer cancel()
	err := cl.ProduceSync(ctx, deadRecord(topic, it, d)).FirstErr()
	if errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("%w; raise max.message.bytes of topic %q, and kgo.ProducerBatchMaxBytes", err, topic)
	}
	return err
}

func deadRecord(topic string, it *item, d oncemsg.Decision) *kgo.Record {
	var reason string
	if d.Err != nil {
		reason = d.Err.Error()
		reason = strings.ToValidUTF8(reason[:min(len(reason), maxDeadError)], "")
	}
	dead := &kgo.Record{Topic: topic, Key: it.rec.Key, Value: it.rec.Value, Headers: slices.Clone(it.rec.Headers)}
	dead.Headers = slices.DeleteFunc(dead.Headers, func(h kgo.RecordHeader) bool {
		return strings.HasPrefix(h.Key, deadPrefix) // it was a dead letter before
	})
	topicID, at, _ := strings.Cut(it.msg.Position, "/")
	partition, offset, _ := strings.Cut(at, "/")
	for _, h := range [...][2]string{
		{HeaderDeadKind, d.Kind.String()},
		{HeaderDeadError, reason},
		{HeaderDeadTopic, it.msg.Source},
		{HeaderDeadTopicID, topicID},
		{HeaderDeadPartition, partition},
		{HeaderDeadOffset, offset},
	} {
		dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	return dead
}
