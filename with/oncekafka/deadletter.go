package oncekafka

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
)

// Headers of a dead-lettered record, beside its own: why it is there, and where it was.
const (
	HeaderDeadKind      = "once-dead-kind"  // oncemsg.Kind
	HeaderDeadError     = "once-dead-error" // the text of Decision.Err, cut to 1 KiB
	HeaderDeadTopic     = "once-dead-topic"
	HeaderDeadPartition = "once-dead-partition"
	HeaderDeadOffset    = "once-dead-offset"
)

const (
	deadLetterTime = 30 * time.Second // for the brokers to acknowledge
	maxDeadError   = 1 << 10
)

// deadLetter sends the record to the topic for such, with its key, value, headers, and so its id.
func deadLetter(ctx context.Context, cl *kgo.Client, topic string, r *kgo.Record, d oncemsg.Decision) error {
	ctx, cancel := context.WithTimeout(ctx, deadLetterTime)
	defer cancel()
	var reason string
	if d.Err != nil {
		reason = d.Err.Error()
		reason = reason[:min(len(reason), maxDeadError)]
	}
	dead := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value}
	dead.Headers = append(dead.Headers, r.Headers...)
	for _, h := range [...][2]string{
		{HeaderDeadKind, d.Kind.String()},
		{HeaderDeadError, reason},
		{HeaderDeadTopic, r.Topic},
		{HeaderDeadPartition, strconv.Itoa(int(r.Partition))},
		{HeaderDeadOffset, strconv.FormatInt(r.Offset, 10)},
	} {
		dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	return cl.ProduceSync(ctx, dead).FirstErr()
}
