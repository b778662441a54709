// Package oncekafka handles the records of Kafka topics once: it consumes in a group with franz-go,
// hands every record to an oncemsg.Consumer, and commits only what is dealt with.
//
//	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing"})
//	…
//	err = oncekafka.Run(ctx, oncekafka.Config{
//		Options: []kgo.Opt{
//			kgo.SeedBrokers("localhost:9092"),
//			kgo.ConsumerGroup("billing"),
//			kgo.ConsumeTopics("orders"),
//		},
//		Consumer:        consumer,
//		Handler:         handle,
//		DeadLetterTopic: "orders.dead",
//	})
//
// # Order
//
// Partitions are handled at the same time, and the records of one in their order. A record that is
// not dealt with is handled again in place, later and later, and those behind it wait: its handler has
// failed, the store does not answer, or another copy of it is in flight. That copy may be in the
// hands of a member that has lost the partition; a record is never passed over while it may still
// fail. The other partitions go on. What another delivery does not help is dead-lettered, and
// the offset passes it only when the brokers have that: if they do not take it, as too large for
// the topic, the partition waits, and it is logged what to raise.
//
// What a handler's error means is said at oncemsg.Handler. One that is neither Final nor NoEffect
// counts as an attempt, and after as many as the guard allows the record is dead-lettered; one that is
// NoEffect does not, and is tried again for ever.
//
// The offset that is committed is that of the first record not dealt with. It is committed every
// second, and when partitions are revoked. After a crash the records since then are delivered
// again, and found done.
//
// # Batches
//
// The records of a partition are claimed many at a time ([Config.Batch]). A crash leaves all that
// were claimed in doubt, those that were not come to as well, and counts as an attempt at each. From
// then on every claim of them counts, also one that is given back, because a record before it has
// failed or the consumer stops. So
// that a record which kills its process does not poison its neighbors, a partition begins with
// single records when it is assigned and after every failure, and doubles up: the batch that the
// killer is in halves with every crash, until it is alone. This needs a guard whose MaxAttempts is
// greater than the number of those halvings, which it is by default. Under the policy Hold, which
// would dead-letter all of them, records are claimed one at a time.
//
// # Rebalances
//
// The client's heartbeats go on whatever a handler does, so a handler may take longer than the
// session timeout, and there is no longest time between two polls. When a partition is revoked, the record
// being handled has [Config.Drain] to finish; what is done is committed, and the rest left to the
// next owner. A handler that is not finished then finds its context done. If it does not return, the
// partition goes without it: its claim lives as long as it runs, and the next owner waits for it.
// The same happens when Run is told to stop: until it is done with what is in hand, or Drain is over, this
// member keeps its partitions. Run returns even if a handler does not.
//
// When partitions are lost, because the group took this member for dead, handlers are stopped at
// once and nothing is committed.
//
// # Keys
//
// A record's id is that of its CloudEvent, or else its header [HeaderID], or else, weak, where it is
// in the log: topic, the topic's own id, partition and offset. The last does not catch a producer
// that sends the same message twice. The topic's id is there since the offsets of a topic begin anew
// when it is made anew; brokers before Kafka 3.1 do not tell it. See oncemsg.Config.Key for other ids,
// which finds the [kgo.Record] in Message.Native.
//
// # Outputs
//
// [Publish] sends what handlers emit: after the outcome is recorded, and before the record is
// committed. [RunInTransactions] sends it in the Kafka transaction that commits the offsets. Until it is
// sent the partition waits; what is too large for its topic dead-letters the record.
//
// # Dead letters
//
// A dead letter has the record's key, value and headers, and others that say why it is there and where it
// was ([HeaderDeadKind] and so on). By those it stays the record that it was, for [Message] and when it is
// moved back with all of its headers: after oncemsg.Consumer.Forget it is run as if for the first time, and
// otherwise set aside again.
//
// # Limits
//
// What a topic's retention removes before it was handled is lost, whoever reads it: the client goes on at
// the first record that is left.
//
// Kafka does not count deliveries. Attempts are counted by the store's record, and in mode
// InTransaction, where that is rolled back, in the memory of this process: there a rebalance or a restart
// begins anew.
//
// A batch handler, and [Config.Concurrency], give up some of the order; see there.
package oncekafka
