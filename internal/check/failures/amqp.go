package main

import (
	"context"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceamqp"
)

// amqp is with/onceamqp on a real RabbitMQ.
var amqp = adapter{name: "AMQP", open: openAMQP, consume: consumeAMQP}

// An amqpBroker is a queue.
type amqpBroker struct {
	server  *rabbit
	conn    *amqp091.Connection
	channel *amqp091.Channel
	queue   string
}

func openAMQP(_ context.Context, l *lab, cell string) (broker, error) {
	server, err := l.rabbit()
	if err != nil {
		return nil, err
	}
	conn, err := amqp091.Dial(server.URL)
	if err != nil {
		return nil, err
	}
	b := amqpBroker{server: server, conn: conn, queue: cell}
	if b.channel, err = conn.Channel(); err == nil {
		err = b.channel.Confirm(false)
	}
	if err == nil {
		_, err = b.channel.QueueDeclare(cell, true, false, false, false, nil)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

func (b amqpBroker) address() string { return b.server.URL }
func (b amqpBroker) ready(string)    {}
func (b amqpBroker) close()          { b.conn.Close() }

func (b amqpBroker) send(ctx context.Context, m message) error {
	confirmation, err := b.channel.PublishWithDeferredConfirmWithContext(ctx, "", b.queue, true, false, amqp091.Publishing{
		MessageId: m.id, Timestamp: m.produced, DeliveryMode: amqp091.Persistent,
	})
	if err != nil {
		return err
	}
	_, err = confirmation.WaitContext(ctx)
	return err
}

// replay publishes the message again with its own time, as who moves dead letters back does.
func (b amqpBroker) replay(ctx context.Context, m message) error { return b.send(ctx, m) }

func (b amqpBroker) idle(ctx context.Context) (bool, error) {
	n, err := b.server.messages(ctx, b.queue)
	return n == 0, err
}

func consumeAMQP(ctx context.Context, c *consumer) error {
	consumer, err := oncemsg.New(c.cfg)
	if err != nil {
		return err
	}
	return onceamqp.Run(ctx, onceamqp.Config{
		// The broker takes a client for dead that says nothing for two of these, which are whole
		// seconds.
		Dial: func() (*amqp091.Connection, error) {
			return amqp091.DialConfig(c.Broker, amqp091.Config{Heartbeat: max(c.BrokerLease/2, time.Second)})
		},
		Queue: c.Cell, Consumer: consumer, Handler: c.handle, Concurrency: 4,
	})
}
