// Package onceamqp handles the messages of an AMQP 0-9-1 queue, such as one of RabbitMQ, once: it
// consumes, hands every message to an [oncemsg.Consumer], and acknowledges only what is dealt with.
//
//	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing", Publish: publisher.Publish})
//	…
//	err = onceamqp.Run(ctx, onceamqp.Config{
//		Dial:          func() (*amqp091.Connection, error) { return amqp091.Dial(url) },
//		Queue:         "orders",
//		Consumer:      consumer,
//		Handler:       handle,
//		DeadLetterKey: "orders.dead",
//	})
//
// # Delivery
//
// AMQP knows no delayed delivery: what is given back comes at once, to the same or another
// process, and again and again while the store is down. So a message that is to be handled again stays
// here, unacknowledged, without taking up a handler, until it is time; only what has stayed for
// [Config.Keep] is given back (basic.nack). That costs room in [Config.Prefetch], and nothing else: no
// second copy as with a queue for delays, and none of the deliveries that quorum queues
// count against their limit. When the process stops or dies, the broker gives its messages to others.
//
// What a handler's error means is said at oncemsg.Handler. One that is neither Final nor NoEffect counts as an
// attempt, and after as many as the guard allows the message is dead-lettered; one that is NoEffect does
// not, and is tried again for ever.
//
// What another delivery does not help is published to the exchange for dead letters, and
// acknowledged when the broker has confirmed and routed it.
//
// # Connections
//
// When the connection or its channel is lost it is opened again, with pauses up to 5 s. What belonged to the
// old channel is delivered anew by the broker, and never acknowledged on the new one. Handlers go on: what
// they come to is recorded, and their copies are found in flight or done.
//
// # Keys
//
// A message's id is that of its CloudEvent, or else its property message-id, within the queue. AMQP
// has no positions: a message with neither is dead-lettered as unnamed, unless oncemsg.Config.Key
// finds another id.
//
// # Limits
//
// Nothing is made here: neither queues nor exchanges. AMQP does not tell how a queue was
// declared; for nothing to be lost it must be durable and its messages persistent. Neither does it tell how
// long the queue keeps messages: say so in oncemsg.Config.BrokerRetention.
//
// There is no order: messages are handled at the same time, and one that fails after those that
// came later.
//
// When Run is told to stop, handlers have [Config.Drain] to finish; then their contexts are done, and Run
// returns when they have. Messages that wait are given back.
//
// A broker closes the channel of a consumer that holds a message longer than its consumer timeout, 30
// minutes by default in RabbitMQ, handlers included. The message is delivered again then, and waits
// for the handler; make the timeout longer than handlers take.
//
// A quorum queue drops or dead-letters by itself what was delivered more often than its delivery limit,
// 20 by default since RabbitMQ 4. Processes that stop or die use it up, and what is given back after
// [Config.Keep], which is logged: with both defaults a store that is down for three hours uses up all of
// it, and without a dead-letter exchange the messages are LOST. Make the limit -1, which is none, or let
// the queue have a dead-letter exchange.
//
// In mode oncemsg.InTransaction and in DropOnlyMayLose, where a failure leaves no record, attempts are counted
// by quorum queues (x-delivery-count) and by this process; classic queues do not count, so a restart begins
// anew there.
package onceamqp
