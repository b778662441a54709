// Package pubsub handles the messages of a subscription of Google Cloud Pub/Sub once.
package pubsub

import (
	"context"
	"log/slog"

	"cloud.google.com/go/pubsub/v2"

	"github.com/oncehq/once/oncemsg"
)

// describe takes the message's name from its attribute id, which the producer has set: the
// message's ID is the service's, and another one when the producer publishes again.
func describe(m *pubsub.Message) oncemsg.Message {
	d := oncemsg.Message{
		ID:       m.Attributes["id"],
		Position: m.ID,
		Payload:  m.Data,
		Header:   func(name string) string { return m.Attributes[name] },
		Time:     m.PublishTime,
	}
	if m.DeliveryAttempt != nil { // only if the subscription has a dead-letter policy
		d.Attempt = *m.DeliveryAttempt
	}
	return d
}

// Receive handles messages until ctx is done. The client extends their deadlines meanwhile.
//
// How long it takes until a message comes again, and after how many deliveries it is set aside, is
// said by the subscription's retry and dead-letter policies: a Nack can carry neither.
func Receive(
	ctx context.Context, subscriber *pubsub.Subscriber, c *oncemsg.Consumer,
	h func(context.Context, *pubsub.Message) error,
) error {
	handle := oncemsg.Wrap(c, describe, h)
	return subscriber.Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
		if err := handle(ctx, m); err != nil {
			slog.Warn("message is not done", "error", err)
			m.Nack()
			return
		}
		m.Ack()
	})
}
