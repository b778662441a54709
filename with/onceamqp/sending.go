package onceamqp

import (
	"context"
	"errors"
	"fmt"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once"
)

// A sending is a message on its way to an exchange.
type sending struct {
	exchange, key string
	message       amqp091.Publishing
}

// A channel is one in confirm mode, used by one goroutine at a time.
type channel struct {
	*amqp091.Channel
	returns chan amqp091.Return
	closing chan *amqp091.Error // why the broker has closed it
	frame   int                 // the largest that the broker takes, in bytes; zero: any
}

// maxOutstanding is how many messages may wait for their confirmation on a channel: no more than
// it has room for returns.
const maxOutstanding = 64

// send publishes messages, and waits until each is in a queue.
func (p *Publisher) send(ctx context.Context, sendings []sending) error {
	ch, err := p.channel()
	if err != nil {
		return fmt.Errorf("onceamqp: publish: %w", err)
	}
	for _, s := range sendings {
		if err := s.check(ch.frame); err != nil { // to send it would cost all others their connection
			p.putBack(ch)
			return once.Final(fmt.Errorf("onceamqp: publish: %w", err))
		}
	}
	for len(sendings) > 0 {
		n := min(len(sendings), maxOutstanding)
		if err := ch.send(ctx, sendings[:n]); err != nil {
			err = fmt.Errorf("onceamqp: publish: %w", ch.why(err))
			ch.Close() // a later answer must not be taken for that to another message
			if closed, ok := errors.AsType[*amqp091.Error](err); ok && closed.Code == amqp091.PreconditionFailed {
				return once.Final(err) // by what the message is, such as its size
			}
			return err
		}
		sendings = sendings[n:]
	}
	p.putBack(ch)
	return nil
}

// Limits of AMQP 0-9-1 (section 4.2.5), in bytes: of a name, and what a frame has beside headers at most:
// the other properties, each a name.
const (
	maxName       = 255
	frameOverhead = 4 << 10
)

// check reports what the client would refuse to write, or the broker to read: either closes the connection.
func (s sending) check(frame int) error {
	for _, name := range []string{s.exchange, s.key, s.message.MessageId, s.message.ContentType} {
		if len(name) > maxName {
			return fmt.Errorf("a name has %d bytes, at most %d are allowed: the exchange, the routing key, "+
				"the message id, the content type", len(name), maxName)
		}
	}
	size := frameOverhead
	for name, value := range s.message.Headers {
		if len(name) > maxName {
			return fmt.Errorf("the name of a header has %d bytes, at most %d are allowed", len(name), maxName)
		}
		text, _ := value.(string)
		size += len(name) + len(text) + 8
	}
	if frame > 0 && size > frame {
		return fmt.Errorf("the headers have %d bytes, too many for a frame of %d", size-frameOverhead, frame)
	}
	return nil
}

func (ch *channel) send(ctx context.Context, sendings []sending) error {
	waiting := make([]*amqp091.DeferredConfirmation, len(sendings))
	for i, s := range sendings {
		const mandatory, immediate = true, false
		var err error
		waiting[i], err = ch.PublishWithDeferredConfirmWithContext(ctx, s.exchange, s.key, mandatory, immediate, s.message)
		if err != nil {
			return err
		}
	}
	for i, w := range waiting {
		switch acked, err := w.WaitContext(ctx); {
		case err != nil:
			return err
		case !acked:
			return fmt.Errorf("the broker did not take a message for exchange %q, key %q", sendings[i].exchange, sendings[i].key)
		}
	}
	select {
	case r := <-ch.returns: // it comes before the confirmation
		return fmt.Errorf("exchange %q leads to no queue for key %q: %s; bind one", r.Exchange, r.RoutingKey, r.ReplyText)
	default:
		return nil
	}
}

// why returns why the broker has closed the channel, as for an exchange that is not there, or else err.
func (ch *channel) why(err error) error {
	select {
	case closed := <-ch.closing:
		if closed != nil {
			return closed
		}
	default:
	}
	return err
}
