package oncekafka

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/oncemsg"
)

// Publish returns an oncemsg.Config.Publish that sends outputs as records: Output.To is the topic, or
// else the client's default; Output.OrderBy is the record's key; and the output's id is in the header
// [HeaderID]. It returns when the brokers have acknowledged all of them.
//
// The client must be one that may produce. It should be idempotent and wait for all replicas, as
// clients are unless told otherwise: then nothing is lost, and nothing doubled by the client itself. An
// output that is published again, after a crash or for a copy of its message, is another record
// with the same id.
func Publish(cl *kgo.Client) func(context.Context, []oncemsg.Output) error {
	return func(ctx context.Context, outputs []oncemsg.Output) error {
		return cl.ProduceSync(ctx, records(outputs)...).FirstErr()
	}
}

// PublishInTransaction is an oncemsg.Config.Publish for consumers given to [RunInTransactions]: it
// sends outputs as [Publish] does, in the transaction in which their message is being handled.
func PublishInTransaction(ctx context.Context, outputs []oncemsg.Output) error {
	r, ok := ctx.Value(transactionKey{}).(*round)
	if !ok {
		return errors.New("oncekafka: publish outside of a transaction; give the consumer to RunInTransactions")
	}
	err := r.cl.ProduceSync(ctx, records(outputs)...).FirstErr()
	if err != nil {
		r.failed.Store(true) // some may be in the transaction, and will be sent again
	}
	return err
}

// transactionKey is where the context of a handler has its [round].
type transactionKey struct{}

func records(outputs []oncemsg.Output) []*kgo.Record {
	rs := make([]*kgo.Record, len(outputs))
	for i, o := range outputs {
		r := &kgo.Record{Topic: o.To, Value: o.Payload}
		if o.OrderBy != "" {
			r.Key = []byte(o.OrderBy)
		}
		for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(o.Headers[name])})
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: HeaderID, Value: []byte(o.ID)})
		rs[i] = r
	}
	return rs
}
