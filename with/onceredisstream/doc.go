// Package onceredisstream handles the entries of a Redis stream once: it reads as a consumer of a
// group, hands every entry to an [oncemsg.Consumer], and acknowledges only what is dealt with.
//
//	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing"})
//	…
//	err = onceredisstream.CreateGroup(ctx, client, "orders", "billing", "0")
//	…
//	err = onceredisstream.Run(ctx, onceredisstream.Config{
//		Client:           client,
//		Stream:           "orders",
//		Group:            "billing",
//		Consumer:         consumer,
//		Handler:          handle,
//		DeadLetterStream: "orders.dead",
//	})
//
// # Delivery
//
// Redis keeps what was delivered and not acknowledged in a list, with how long it has been idle.
// While an entry is being handled its idle time is reset again and again; when that stops for
// [Config.Lease], because the process has died, another consumer of the group takes it over. An
// entry that is to be delivered again later is given as much idle time as makes it due then, if
// that is within the lease, and after a lease otherwise.
//
// What a handler's error means is said at oncemsg.Handler. One that is neither Final nor NoEffect counts as an
// attempt, and after as many as the guard allows the entry is dead-lettered; one that is NoEffect does
// not, and is tried again for ever.
//
// # Keys
//
// An entry's id is that of its CloudEvent, or else its field [FieldID], or else, weak, its id in
// the stream, which does not catch a producer that adds the same message twice.
//
// A dead letter has all of the entry's fields, and others that say why it is there and what it was. By those
// it stays the entry that it was, for [Message] and when it is moved back: after oncemsg.Consumer.Forget it
// is run as if for the first time, and otherwise set aside again.
//
// # Limits
//
// There is no order: entries are handled at the same time, and one that fails after those that came
// later.
//
// Entries that are trimmed from the stream (MAXLEN) or deleted before they were read are lost, whoever
// reads them; so are those that were read by a process that has died, and these are logged. One that is
// trimmed while it is being handled is dead-lettered if it would have to be handled again.
//
// In mode oncemsg.InTransaction and in DropOnlyMayLose, where a failure leaves no record, the server counts
// the attempts, and counts deliveries while the store was down as well: a handler that fails after an outage
// may be dead-lettered after fewer runs.
//
// When Run is told to stop, handlers have [Config.Drain] to finish; then their contexts are done, and Run
// returns when they have. What it has not come to is taken over by others after [Config.Lease].
//
// In a Redis Cluster a stream is on one node.
package onceredisstream
