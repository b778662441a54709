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
// # Keys
//
// An entry's id is that of its CloudEvent, or else its field [FieldID], or else, weak, its id in
// the stream, which does not catch a producer that adds the same message twice.
//
// # Limits
//
// There is no order: entries are handled at the same time, and one that fails after those that came
// later. Entries that are trimmed from the stream (MAXLEN) before they were handled are lost,
// whoever reads them; they are logged. In a Redis Cluster a stream is on one node.
package onceredisstream
