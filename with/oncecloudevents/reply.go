package oncecloudevents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// A reply is recorded as an output: its data as they are, so that every copy gets the same bytes, and its
// attributes as the JSON of an event without data.
const (
	replyTo         = "oncecloudevents reply"
	replyAttributes = "attributes"
	replyBase64     = "base64" // whether the data are binary in JSON
)

// A reply is what the protocol is to be answered with.
type reply struct{ event *event.Event }

type replyKey struct{}

// named returns the answer with an id, which is derived from the event's key unless it has one.
func named(e event.Event, k once.Key) (event.Event, error) {
	if e.ID() == "" {
		e = e.Clone()
		e.SetID(k.DerivedID(replyTo))
	}
	if err := e.Validate(); err != nil {
		return e, once.Final(fmt.Errorf("oncecloudevents: reply is not a valid event: %w", err))
	}
	return e, nil
}

// emitReply records the answer with the outcome.
func emitReply(ctx context.Context, e event.Event) error {
	data, base64 := e.DataEncoded, e.DataBase64
	e.DataEncoded, e.DataBase64 = nil, false
	attributes, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("oncecloudevents: reply cannot be recorded: %w", err)
	}
	return oncemsg.Emit(ctx, oncemsg.Output{
		To: replyTo, ID: e.ID(), Payload: data,
		Headers: map[string]string{replyAttributes: string(attributes), replyBase64: fmt.Sprint(base64)},
	})
}

// collectReply returns a Publish that keeps the reply for the protocol, and passes on everything
// else.
func collectReply(publish func(context.Context, []oncemsg.Output) error) func(context.Context, []oncemsg.Output) error {
	return func(ctx context.Context, outputs []oncemsg.Output) error {
		var others []oncemsg.Output
		for _, o := range outputs {
			if o.To != replyTo {
				others = append(others, o)
				continue
			}
			e := new(event.Event)
			if err := json.Unmarshal([]byte(o.Headers[replyAttributes]), e); err != nil {
				return once.Final(fmt.Errorf("oncecloudevents: recorded reply cannot be read: %w", err))
			}
			e.DataEncoded, e.DataBase64 = o.Payload, o.Headers[replyBase64] == "true"
			ctx.Value(replyKey{}).(*reply).event = e
		}
		switch {
		case len(others) == 0:
			return nil
		case publish == nil:
			return errors.New("oncecloudevents: emit: the receiver has no Consumer.Publish")
		}
		return publish(ctx, others)
	}
}
