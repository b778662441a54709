package oncekafka_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

func header(r *kgo.Record, name string) (value string) {
	for _, h := range r.Headers {
		if h.Key == name {
			value = string(h.Value)
		}
	}
	return value
}

// A dead letter is the record that it was, named by its producer or not: found again when it is moved
// back, and forgotten by what it is.
func TestDeadLettersKeepTheirNames(t *testing.T) {
	t.Parallel()
	for name, original := range map[string]*kgo.Record{
		"named":   record("orders", 1, "a"),
		"unnamed": {Topic: "orders", Partition: 1, Value: []byte("a")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, 2, "orders")
			b.produce(&kgo.Record{Topic: "orders", Partition: 1, Value: []byte("first")}, original)
			var runs atomic.Int64
			var repaired atomic.Bool
			consumer := newConsumer(t, oncemsg.Config{})
			start(t, oncekafka.Run, oncekafka.Config{
				Options: b.options("orders"), Consumer: consumer,
				Handler: func(_ context.Context, m oncemsg.Message) error {
					if string(m.Payload) == "a" {
						runs.Add(1)
						if !repaired.Load() {
							return once.Final(errors.New("no"))
						}
					}
					return nil
				},
			})
			moveBack := func(dead *kgo.Record) {
				b.produce(&kgo.Record{Topic: "orders", Key: dead.Key, Value: dead.Value, Headers: dead.Headers})
			}
			moveBack(b.read(dead, 1)[0])
			again := b.read(dead, 2)[1]
			if runs.Load() != 1 {
				t.Errorf("it was run %d times, want once", runs.Load())
			}
			names := make([]string, len(again.Headers))
			for i, h := range again.Headers {
				names[i] = h.Key
			}
			slices.Sort(names)
			if len(slices.Compact(names)) != len(again.Headers) {
				t.Errorf("headers are there twice: %q", again.Headers)
			}
			if header(again, oncekafka.HeaderDeadTopic) != "orders" || header(again, oncekafka.HeaderDeadPartition) != "1" ||
				header(again, oncekafka.HeaderDeadOffset) != "1" {
				t.Errorf("where it was first is lost: %q", again.Headers)
			}
			repaired.Store(true)
			if err := consumer.Forget(t.Context(), oncekafka.Message(again, [16]byte{})); err != nil {
				t.Fatal(err)
			}
			moveBack(again)
			eventually(t, "it is run again", func() bool { return runs.Load() == 2 })
			b.wantCommitted("orders", 0, 2)
		})
	}
}

// Under Hold a crash dead-letters all that was claimed, so that must be one record.
func TestHoldClaimsOneRecordAtATime(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 60)
	guard := newGuard(t, once.Config{InDoubt: once.Hold})
	consumer := newConsumer(t, oncemsg.Config{Guard: guard})
	begun, release := make(chan bool), make(chan bool)
	var e effects
	start(t, oncekafka.Run, oncekafka.Config{
		Options: b.options("orders"), Consumer: consumer,
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			if string(m.Payload) == ids[20] {
				begun <- true
				<-release
			}
			return e.handle(ctx, m)
		},
	})
	<-begun
	for _, id := range ids[21:] {
		k, _ := consumer.Key(oncekafka.Message(record("orders", 0, id), [16]byte{}))
		if _, err := guard.Store().Load(t.Context(), k); !errors.Is(err, once.ErrNotFound) {
			t.Errorf("record %s is claimed as well: %v", id, err)
		}
	}
	close(release)
	e.want(t, ids)
}
