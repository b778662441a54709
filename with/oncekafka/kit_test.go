package oncekafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

const (
	group = "billing"
	dead  = "dead"
)

// A broker is an in-process Kafka.
type broker struct {
	*kfake.Cluster
	t        testing.TB
	producer *kgo.Client
	topics   map[[16]byte]string
}

func newBroker(t testing.TB, partitions int32, topics ...string) *broker {
	t.Helper()
	c, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100"}),
		kfake.SeedTopics(partitions, topics...),
		kfake.SeedTopics(1, dead),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &broker{Cluster: c, t: t, topics: make(map[[16]byte]string)}
	for _, topic := range append(topics, dead) {
		b.topics[c.TopicInfo(topic).TopicID] = topic
	}
	b.producer = b.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return b
}

func (b *broker) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.ListenAddrs()...)}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

func (b *broker) produce(rs ...*kgo.Record) {
	b.t.Helper()
	if err := b.producer.ProduceSync(b.t.Context(), rs...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// record is one with an id, which is its value as well.
func record(topic string, partition int32, id string) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: partition, Value: []byte(id),
		Headers: []kgo.RecordHeader{{Key: oncekafka.HeaderID, Value: []byte(id)}},
	}
}

// fill produces n records into each partition, with ids "partition/number", and returns the ids.
func (b *broker) fill(topic string, partitions int32, n int) []string {
	b.t.Helper()
	var rs []*kgo.Record
	var ids []string
	for p := range partitions {
		for i := range n {
			id := fmt.Sprintf("%d/%03d", p, i)
			rs, ids = append(rs, record(topic, p, id)), append(ids, id)
		}
	}
	b.produce(rs...)
	return ids
}

// committed returns the group's offset of a partition, or -1.
func (b *broker) committed(topic string, partition int32) int64 {
	if info := b.GroupInfo(group); info != nil {
		if c, ok := info.Commits[topic][partition]; ok {
			return c.Offset
		}
	}
	return -1
}

func (b *broker) wantCommitted(topic string, partition int32, offset int64) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("offset %d of %s/%d is committed", offset, topic, partition), func() bool {
		return b.committed(topic, partition) == offset
	})
}

// onCommit calls f before an offset is committed.
func (b *broker) onCommit(f func(topic string, partition int32, offset int64)) {
	b.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		for _, t := range req.(*kmsg.OffsetCommitRequest).Topics {
			topic := t.Topic
			if topic == "" {
				topic = b.topics[t.TopicID]
			}
			for _, p := range t.Partitions {
				f(topic, p.Partition, p.Offset)
			}
		}
		return nil, nil, false
	})
}

// refuseProduce refuses n requests to produce to the topic's first partition. The function it returns says
// how many were refused so far.
func (b *broker) refuseProduce(topic string, n int) func() int64 {
	h := b.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{0}, Err: kerr.TopicAuthorizationFailed, Count: n,
	})
	return func() int64 { return int64(h.Hits()) }
}

// forgetMembers makes the group answer one heartbeat as if it did not know its member.
func (b *broker) forgetMembers() {
	b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: group, TopLevel: true, Err: kerr.UnknownMemberID})
}

// read returns the first n records of a topic that are committed, whatever their order.
func (b *broker) read(topic string, n int) []*kgo.Record {
	b.t.Helper()
	cl := b.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var rs []*kgo.Record
	for len(rs) < n && ctx.Err() == nil {
		rs = append(rs, cl.PollFetches(ctx).Records()...)
	}
	if len(rs) < n {
		b.t.Fatalf("topic %s has %d records, want %d", topic, len(rs), n)
	}
	return rs
}

// ends returns how many records a topic has in all, with control records.
func (b *broker) end(topic string) (n int64) {
	for _, p := range b.PartitionInfos(topic) {
		n += p.HighWatermark
	}
	return n
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// A log keeps what was logged.
type log struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func newGuard(t testing.TB, cfg once.Config) *once.Guard {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = new(oncemem.Store)
	}
	if cfg.InDoubt == 0 {
		cfg.InDoubt = once.Rerun
	}
	cfg.DangerouslyTrustStore = cfg.InDoubt == once.Hold
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newConsumer(t testing.TB, cfg oncemsg.Config) *oncemsg.Consumer {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, once.Config{})
	}
	cfg.Subscriber = "test"
	if cfg.Logger == nil {
		l := new(log)
		cfg.Logger = l.logger()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("logged:\n%s", l.buf.String())
			}
		})
	}
	if cfg.Backoff == nil {
		cfg.Backoff = func(int) time.Duration { return 10 * time.Millisecond }
	}
	c, err := oncemsg.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are those of a member that notices soon what happens in the group.
func (b *broker) options(topics ...string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(b.ListenAddrs()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...),
		kgo.HeartbeatInterval(50 * time.Millisecond), kgo.SessionTimeout(5 * time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
}

// start runs a member. The function it returns stops it and waits for its end.
func start(t testing.TB, run func(context.Context, oncekafka.Config) error, cfg oncekafka.Config) (stop func()) {
	t.Helper()
	if cfg.DeadLetterTopic == "" {
		cfg.DeadLetterTopic = dead
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx, cfg); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// effects is what handlers have done, in the order of each partition.
type effects struct {
	mu  sync.Mutex
	ids map[int32][]string
}

func (e *effects) add(m oncemsg.Message) {
	r := m.Native.(*kgo.Record)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids == nil {
		e.ids = make(map[int32][]string)
	}
	e.ids[r.Partition] = append(e.ids[r.Partition], string(r.Value))
}

func (e *effects) handle(_ context.Context, m oncemsg.Message) error {
	e.add(m)
	return nil
}

// all returns the effects, sorted by partition.
func (e *effects) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, p := range slices.Sorted(maps.Keys(e.ids)) {
		all = append(all, e.ids[p]...)
	}
	return all
}

// want waits until there are as many effects, and compares them in order.
func (e *effects) want(t testing.TB, ids []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("there are %d effects, of %d", len(ids), len(e.all())), func() bool {
		return len(e.all()) >= len(ids)
	})
	if got := e.all(); !slices.Equal(got, ids) {
		t.Fatalf("effects are\n%q\nwant\n%q", got, ids)
	}
}
