package oncejetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// Publish returns an oncemsg.Config.Publish that publishes outputs, one after the other, and waits for
// a stream to have each: Output.To is the subject, and the output's id is in the header Nats-Msg-Id. An
// output that is published again within the stream's window for copies (Duplicates) is dropped by the
// server; later it is another message with the same id. Output.OrderBy is not used: a subject
// has an order.
//
// An output that no server would ever take, because it or its headers are too large or its subject
// malformed, dead-letters its message. A subject that no stream keeps does not: a stream may be made for it.
func Publish(js jetstream.JetStream) func(context.Context, []oncemsg.Output) error {
	return func(ctx context.Context, outputs []oncemsg.Output) error {
		for _, o := range outputs {
			if err := publish(ctx, js, o); err != nil {
				return err
			}
		}
		return nil
	}
}

func publish(ctx context.Context, js jetstream.JetStream, o oncemsg.Output) error {
	m := &nats.Msg{Subject: o.To, Data: o.Payload, Header: nats.Header{}}
	for name, value := range o.Headers {
		m.Header[name] = []string{value}
	}
	m.Header.Set(jetstream.MsgIDHeader, o.ID)
	_, err := js.PublishMsg(ctx, m)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("oncejetstream: publish: no stream keeps subject %q; make one: %w", o.To, err)
	case isRefused(err):
		return once.Final(fmt.Errorf("oncejetstream: publish to %q: %w", o.To, err))
	}
	return fmt.Errorf("oncejetstream: publish to %q: %w", o.To, err)
}

// headersTooLarge is the server's code for headers of more than 64 KiB, which the client has no name for.
const headersTooLarge jetstream.ErrorCode = 10097

// isRefused reports whether no server will ever take the message.
func isRefused(err error) bool {
	if answer, ok := errors.AsType[*jetstream.APIError](err); ok && answer.ErrorCode == headersTooLarge {
		return true
	}
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum)
}
