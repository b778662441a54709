package oncekafka

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// retentions are the topics whose retention was looked up.
type retentions struct {
	consumer *oncemsg.Consumer
	checking sync.WaitGroup
	checked  sync.Map // by topic
}

// check looks a topic up in the background, the first time. It must not be called after Wait.
func (r *retentions) check(cl *kgo.Client, topic string) {
	if _, again := r.checked.LoadOrStore(topic, true); !again {
		r.checking.Go(func() { checkRetention(r.consumer, cl, topic) })
	}
}

// checkRetention warns of a topic that keeps records for longer than the consumer remembers them:
// when the group's offsets are reset, or have expired, copies come that are run again.
func checkRetention(consumer *oncemsg.Consumer, cl *kgo.Client, topic string) {
	log := consumer.Config().Logger
	keeps, err := retention(cl.Context(), cl, topic)
	if cl.Context().Err() != nil {
		return // closed meanwhile
	}
	if err != nil {
		log.Warn("oncekafka: the topic's retention cannot be compared with the window",
			"topic", topic, "error", err)
		return
	}
	if err := consumer.CheckRetention(keeps); err != nil {
		log.Warn("oncekafka: the topic keeps records longer than they are remembered",
			"topic", topic, "error", err)
	}
}

// retention returns how long the topic keeps records: [once.Forever] if it has no limit in time, or
// keeps the latest of every key.
func retention(ctx context.Context, cl *kgo.Client, topic string) (time.Duration, error) {
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType = kmsg.ConfigResourceTypeTopic
	res.ResourceName = topic
	res.ConfigNames = []string{"retention.ms", "cleanup.policy"}
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = append(req.Resources, res)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	values := make(map[string]string)
	for _, res := range resp.Resources {
		if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
			return 0, err
		}
		for _, c := range res.Configs {
			if c.Value != nil {
				values[c.Name] = *c.Value
			}
		}
	}
	ms, err := strconv.ParseInt(values["retention.ms"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("oncekafka: brokers do not tell retention.ms: %w", err)
	}
	if !strings.Contains(values["cleanup.policy"], "delete") && values["cleanup.policy"] != "" {
		return once.Forever, nil
	}
	if ms < 0 || ms > int64(once.Forever/time.Millisecond) {
		return once.Forever, nil
	}
	return time.Duration(ms) * time.Millisecond, nil
}
