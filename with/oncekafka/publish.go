package oncekafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// Publish returns an oncemsg.Config.Publish that sends outputs as records: Output.To is the topic, or
// else the client's default; Output.OrderBy is the record's key; and the output's id is in the header
// [HeaderID]. It returns when the brokers have acknowledged all of them.
//
// The client must be one that may produce, and should be for this alone: what others send with it could
// make a batch too large that is to tell which output is. It should be idempotent and wait for all replicas,
// as clients are unless told otherwise: then nothing is lost, and nothing doubled by the client itself. An
// output that is published again, after a crash or for a copy of its message, is another record
// with the same id.
//
// An output that will never be taken, because it is too large for its topic or for the client
// (kgo.ProducerBatchMaxBytes) or the topic's name is malformed, dead-letters its message. A topic that is
// not there does not: it may be made.
func Publish(cl *kgo.Client) func(context.Context, []oncemsg.Output) error {
	s := &sender{cl: cl}
	return func(ctx context.Context, outputs []oncemsg.Output) error {
		_, err := s.send(ctx, records(outputs))
		return err
	}
}

// PublishInTransaction is an oncemsg.Config.Publish for consumers given to [RunInTransactions]: it
// sends outputs as [Publish] does, in the transaction in which their message is being handled. If one
// is refused for good the transaction is aborted, and the message dead-lettered in the next one.
func PublishInTransaction(ctx context.Context, outputs []oncemsg.Output) error {
	r, ok := ctx.Value(transactionKey{}).(*round)
	if !ok {
		return errors.New("oncekafka: publish outside of a transaction; give the consumer to RunInTransactions")
	}
	for _, o := range outputs {
		if r.refused.has(o.ID) {
			return once.Final(fmt.Errorf("oncekafka: publish to topic %q: an output was refused, "+
				"as too large or malformed", o.To))
		}
	}
	refused, err := r.send(ctx, records(outputs))
	for _, rec := range refused {
		r.refused.add(headers(rec.Headers).get(HeaderID))
	}
	if err != nil {
		// Some may be in the transaction, and will be sent again; it is not final yet.
		r.failed.Store(true)
		return fmt.Errorf("oncekafka: the transaction is aborted: %v", err)
	}
	return nil
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
