package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

const (
	kafkaTopic = "orders"
	kafkaGroup = "billing"
)

// kafka is with/oncekafka on an in-process Kafka.
var kafka = adapter{name: "Kafka", open: openKafka, consume: consumeKafka, resets: true}

type kafkaBroker struct {
	*kfake.Cluster
	producer *kgo.Client
}

func openKafka(_ context.Context, _ *lab, _ string) (broker, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, kafkaTopic),
		kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		cluster.Close()
		return nil, err
	}
	return kafkaBroker{cluster, producer}, nil
}

func (b kafkaBroker) address() string { return b.ListenAddrs()[0] }
func (b kafkaBroker) ready(string)    {}

func (b kafkaBroker) send(ctx context.Context, m message) error {
	return b.producer.ProduceSync(ctx, &kgo.Record{
		Topic: kafkaTopic, Timestamp: m.produced,
		Headers: []kgo.RecordHeader{{Key: oncekafka.HeaderID, Value: []byte(m.id)}},
	}).FirstErr()
}

// replay resets the group's offset to that of victim, which is the second record.
func (b kafkaBroker) replay(ctx context.Context, _ message) error {
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	partition.Offset = 1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = kafkaTopic, b.TopicInfo(kafkaTopic).TopicID
	topic.Partitions = append(topic.Partitions, partition)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Topics = kafkaGroup, append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, b.producer)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func (b kafkaBroker) idle(context.Context) (bool, error) {
	group := b.GroupInfo(kafkaGroup)
	if group == nil {
		return false, nil
	}
	return group.Commits[kafkaTopic][0].Offset == b.PartitionInfos(kafkaTopic)[0].HighWatermark, nil
}

func (b kafkaBroker) close() {
	b.producer.Close()
	b.Cluster.Close()
}

func consumeKafka(ctx context.Context, c *consumer) error {
	consumer, err := oncemsg.New(c.cfg)
	if err != nil {
		return err
	}
	return oncekafka.Run(ctx, oncekafka.Config{
		Options: []kgo.Opt{
			kgo.SeedBrokers(c.Broker), kgo.ConsumerGroup(kafkaGroup), kgo.ConsumeTopics(kafkaTopic),
			kgo.HeartbeatInterval(c.BrokerLease / 10), kgo.SessionTimeout(c.BrokerLease),
			kgo.MetadataMinAge(50 * time.Millisecond),
		},
		Consumer: consumer, Handler: c.handle, Batch: 1,
	})
}
