package onceamqp

import (
	"context"
	"maps"
	"strings"

	"github.com/rabbitmq/amqp091-go"
)

// Headers of a dead letter, beside the message's own: why it is there, and where it was.
const (
	HeaderDeadReason     = "once-dead-reason"
	HeaderDeadQueue      = "once-dead-queue"
	HeaderDeadExchange   = "once-dead-exchange"
	HeaderDeadRoutingKey = "once-dead-routing-key"
)

// maxReason is how many bytes of a reason are kept.
const maxReason = 1 << 10

// deadLetter sets a message aside, and then ends its delivery: a crash between the two sets it aside twice.
func (r *reader) deadLetter(ctx context.Context, d amqp091.Delivery, reason string) error {
	if r.cfg.QueueDeadLetters {
		return d.Nack(false, false)
	}
	err := r.letters.send(ctx, []sending{{
		exchange: r.cfg.DeadLetterExchange, key: r.cfg.DeadLetterKey, message: deadLetter(d, Message(r.cfg.Queue, d).Source, reason),
	}})
	if err != nil {
		return err
	}
	return d.Ack(false)
}

func deadLetter(d amqp091.Delivery, queue, reason string) amqp091.Publishing {
	h := maps.Clone(d.Headers)
	if h == nil {
		h = amqp091.Table{}
	}
	for _, name := range []string{"CC", "BCC", headerDeliveryCount} { // the first two would send copies
		delete(h, name)
	}
	h[HeaderDeadReason] = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	h[HeaderDeadQueue] = queue
	h[HeaderDeadExchange] = d.Exchange
	h[HeaderDeadRoutingKey] = d.RoutingKey
	// Not the user, who is not the one that publishes now, and not the expiration.
	return amqp091.Publishing{
		Headers: h, Body: d.Body, DeliveryMode: amqp091.Persistent,
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Priority: d.Priority,
		CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, MessageId: d.MessageId,
		Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId,
	}
}
