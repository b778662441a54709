package onceamqp

import (
	"fmt"
	"strings"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
)

// headerDeliveryCount is where a quorum queue says how often a message was delivered before and not
// acknowledged.
const headerDeliveryCount = "x-delivery-count"

// Message describes a message of the queue, without verbs. [Run] does it by itself; Message is for
// oncemsg.Wrap and oncemsg.Consumer.Forget. A dead letter, also one that is moved back, is the message of
// the queue that it was in first.
func Message(queue string, d amqp091.Delivery) oncemsg.Message {
	if first := header(d, HeaderDeadQueue); first != "" {
		queue = first
	}
	return oncemsg.Message{
		Source:  queue,
		ID:      d.MessageId,
		Payload: d.Body,
		Header:  func(name string) string { return header(d, name) },
		Time:    d.Timestamp,
		Attempt: attempt(d),
		Native:  d,
	}
}

// header returns a header, or the property content-type, which CloudEvents look for.
func header(d amqp091.Delivery, name string) string {
	switch v := d.Headers[name].(type) {
	case nil:
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
	if strings.EqualFold(name, "content-type") {
		return d.ContentType
	}
	return ""
}

// attempt is the number of the delivery, or zero if the queue does not count and it is not the first.
func attempt(d amqp091.Delivery) int {
	switch n := d.Headers[headerDeliveryCount].(type) {
	case int64:
		return int(n) + 1
	case int32:
		return int(n) + 1
	}
	if d.Redelivered {
		return 0
	}
	return 1
}
