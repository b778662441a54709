package oncewatermill

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/oncehq/once/oncemsg"
)

// A collector takes what is to be published for one delivery: the router does that.
type collector struct{ messages []*message.Message }

type collectorKey struct{}

// collect is the Publish of the consumers.
func collect(ctx context.Context, outputs []oncemsg.Output) error {
	c := ctx.Value(collectorKey{}).(*collector)
	for _, o := range outputs {
		m := message.NewMessage(o.ID, o.Payload)
		for name, value := range o.Headers {
			m.Metadata.Set(name, value)
		}
		c.messages = append(c.messages, m)
	}
	return nil
}

// outputs returns the messages as they are recorded. They are published only when that is done: so a UUID
// that is random in each attempt is the same in each copy that is published.
func outputs(produced []*message.Message) []oncemsg.Output {
	all := make([]oncemsg.Output, len(produced))
	for i, m := range produced {
		all[i] = oncemsg.Output{ID: m.UUID, Headers: m.Metadata, Payload: m.Payload}
	}
	return all
}
