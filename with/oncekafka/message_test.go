package oncekafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

func TestMessageSaysWhatTellsARecordFromOthers(t *testing.T) {
	t.Parallel()
	when := time.UnixMilli(1_700_000_000_000)
	r := &kgo.Record{
		Topic: "orders", Partition: 3, Offset: 14, Value: []byte("v"), Timestamp: when,
		Headers: []kgo.RecordHeader{
			{Key: "message-id", Value: []byte("old")}, {Key: "message-id", Value: []byte("new")}, // the last counts
			{Key: "empty"},
		},
	}
	m := oncekafka.Message(r, [16]byte{0xab})
	if m.Source != "orders" || m.ID != "new" || m.Position != "ab000000000000000000000000000000/3/14" ||
		string(m.Payload) != "v" || !m.Time.Equal(when) || m.Native != any(r) || m.Attempt != 0 ||
		m.Lookup("empty") != "" || m.Lookup("message-id") != "new" {
		t.Errorf("got %+v", m)
	}
	if p := oncekafka.Message(r, [16]byte{}).Position; p != "/3/14" {
		t.Errorf("without the topic's id the position is %q", p)
	}
}

func TestRecordOfATopicMadeAnewIsNoCopy(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	var e effects
	consumer := newConsumer(t, oncemsg.Config{})
	for _, id := range []string{"first", "second"} { // at the same offset
		producer := b.client() // which has not known the topic before
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(id)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		stop := start(t, oncekafka.Run, oncekafka.Config{
			Options:  append(b.options("orders"), kgo.ConsumerGroup("of-"+id)),
			Consumer: consumer, Handler: e.handle,
		})
		eventually(t, "the record is committed", func() bool {
			info := b.GroupInfo("of-" + id)
			return info != nil && info.Commits["orders"][0].Offset == 1
		})
		stop()
		if err := b.DeleteTopic("orders"); err != nil {
			t.Fatal(err)
		}
		if err := b.CreateTopic("orders", 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	e.want(t, []string{"first", "second"})
}

func TestHeaderOfOtherProducersNamesTheRecord(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	outbox := func(id string) *kgo.Record {
		return &kgo.Record{Topic: "orders", Value: []byte(id), Headers: []kgo.RecordHeader{{Key: "id", Value: []byte(id)}}}
	}
	b.produce(outbox("a"), outbox("b"), outbox("a"))
	var e effects
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: newConsumer(t, oncemsg.Config{}), Handler: e.handle, IDHeader: "id",
	})
	b.wantCommitted("orders", 0, 3)
	e.want(t, []string{"a", "b"})
}
