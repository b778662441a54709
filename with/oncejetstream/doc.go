// Package oncejetstream handles the messages of a NATS JetStream stream once: it pulls as a durable
// consumer, hands every message to an [oncemsg.Consumer], and acknowledges only what is dealt
// with.
//
//	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing"})
//	…
//	err = oncejetstream.Run(ctx, oncejetstream.Config{
//		JetStream:         js,
//		Stream:            "ORDERS",
//		Durable:           "billing",
//		Consumer:          consumer,
//		Handler:           handle,
//		DeadLetterSubject: "dead.orders",
//	})
//
// # Delivery
//
// No more messages are pulled than can be handled at once, so none waits in the client while its
// lease, the consumer's AckWait, runs out. It is renewed (InProgress) while the handler runs.
// What is to be delivered again later is given back with its delay (NakWithDelay). What another
// delivery does not help is published to the dead-letter subject, and when a stream has it the
// original is ended (Term).
//
// What a handler's error means is said at oncemsg.Handler. One that is neither Final nor NoEffect counts as an
// attempt, and after as many as the guard allows the message is dead-lettered; one that is NoEffect does
// not, and is tried again for ever.
//
// Acknowledgements are sent without waiting for an answer, unless [Config.DoubleAck] says so: if
// one is lost the message is delivered again, and found done.
//
// # Keys
//
// A message's id is that of its CloudEvent, or else its header Nats-Msg-Id, within the stream; or else,
// weak, its sequence in the stream together with the time when it was stored: sequences begin
// anew when a stream is made anew. The last does not catch a producer that publishes the same
// message twice. The server drops copies with the same Nats-Msg-Id only within the stream's window,
// two minutes by default, and only before anybody has handled them.
//
// # Limits
//
// Nothing is made here: neither streams nor consumers. The consumer must acknowledge explicitly and
// must not have a MaxDeliver, after which the server would drop a message without a word; deliveries
// while the store was down count for that too.
//
// What the stream itself removes before it was handled, by MaxAge or by discarding old messages, is lost, whoever
// reads it.
//
// There is no order: messages are handled at the same time, and one that fails after those that
// came later. The server delivers nothing more while MaxAckPending messages, 1000 by default, are being
// handled or wait for their delay.
//
// In mode oncemsg.InTransaction and in DropOnlyMayLose, where a failure leaves no record, the server counts the
// attempts, and counts deliveries while the store was down as well: a handler that fails after an outage may be
// dead-lettered after fewer runs.
//
// When Run is told to stop, handlers have [Config.Drain] to finish; then their contexts are done, and Run
// returns when they have. Messages that were on their way to it come again after their AckWait.
//
// A stream that is deleted and made anew under the same name while a handler runs takes the old
// message's acknowledgement for that of the new message with its number: stop consumers first.
package oncejetstream
