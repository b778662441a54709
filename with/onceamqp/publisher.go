package onceamqp

import (
	"context"
	"errors"
	"sync"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
)

// A PublisherConfig says how outputs are published.
type PublisherConfig struct {
	// Dial opens a connection to the broker: when something is to be published, and again after it was
	// lost. It should not be that of a consumer: brokers hold up connections that publish too much.
	// Required.
	Dial func() (*amqp091.Connection, error)

	// Route says where an output goes. Defaults to the queue that is named by Output.To.
	Route func(oncemsg.Output) (exchange, key string)
}

// A Publisher publishes outputs. It may be used by many goroutines at once; each call has a channel to itself.
type Publisher struct {
	cfg PublisherConfig

	mu     sync.Mutex // guards the rest
	conn   *amqp091.Connection
	idle   []*channel
	closed bool
}

// maxIdle is how many channels are kept open for later calls.
const maxIdle = 32

// NewPublisher returns a publisher, which the caller must close.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if cfg.Dial == nil {
		return nil, errors.New("onceamqp: publisher: Dial is missing; it opens a connection, " +
			"for example with amqp091.Dial")
	}
	if cfg.Route == nil {
		cfg.Route = func(o oncemsg.Output) (exchange, key string) { return "", o.To }
	}
	return &Publisher{cfg: cfg}, nil
}

// Publish is an oncemsg.Config.Publish. Outputs are persistent, and their ids are in the property
// message-id; an output that is published again is another message with the same id. It returns nil when
// the broker has confirmed that each is in a queue; that an output cannot be routed is an error, and it
// is tried again. Output.OrderBy is not used: a queue has an order.
//
// An output that no broker would ever take, because it is too large or a name in it too long, dead-letters
// its message.
func (p *Publisher) Publish(ctx context.Context, outputs []oncemsg.Output) error {
	sendings := make([]sending, len(outputs))
	for i, o := range outputs {
		h := make(amqp091.Table, len(o.Headers))
		for name, value := range o.Headers {
			h[name] = value
		}
		s := &sendings[i]
		s.exchange, s.key = p.cfg.Route(o)
		s.message = amqp091.Publishing{
			Headers: h, Body: o.Payload, MessageId: o.ID, DeliveryMode: amqp091.Persistent,
			ContentType: o.Headers["content-type"],
		}
	}
	return p.send(ctx, sendings)
}

// Close closes the connection. Nothing can be published afterwards.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.idle = true, nil
	if p.conn == nil || p.conn.IsClosed() {
		return nil
	}
	return p.conn.Close()
}

// channel returns a channel that nobody else uses.
func (p *Publisher) channel() (*channel, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		ch := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if !ch.IsClosed() {
			return ch, nil
		}
	}
	if p.closed {
		return nil, amqp091.ErrClosed
	}
	if p.conn == nil || p.conn.IsClosed() {
		conn, err := dial(p.cfg.Dial)
		if err != nil {
			return nil, err
		}
		p.conn = conn
	}
	ch, err := p.conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		ch.Close()
		return nil, err
	}
	return &channel{
		Channel: ch,
		frame:   p.conn.Config.FrameSize,
		returns: ch.NotifyReturn(make(chan amqp091.Return, maxOutstanding)),
		closing: ch.NotifyClose(make(chan *amqp091.Error, 1)),
	}, nil
}

func (p *Publisher) putBack(ch *channel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) == maxIdle {
		ch.Close()
		return
	}
	p.idle = append(p.idle, ch)
}
