// Package oncemsg handles messages once, whatever broker delivers them. Brokers deliver at least
// once: again after a crash, a slow handler, a rebalance, a lost acknowledgement, or because
// the producer sent again. A [Consumer] claims each message under the name of its subscriber before it
// runs the handler, and records that it is done after. It never marks a message first and
// loses it when the handler fails, and never acknowledges a copy while the original still runs.
//
// What comes of a delivery is a [Decision]:
//
//	kind            when                                          verb
//	ran             the handler ran                               ack
//	duplicate       done before; its outputs are published again  ack
//	in-flight       another copy is being run                     retry, after its lease
//	failed          error or panic                                retry
//	unavailable     the store does not answer; nothing ran        retry
//	unacknowledged  ran, but it is unknown if it was recorded     retry
//	unpublished     recorded, but its outputs were not published  retry, or dead-letter if they never can be
//	rejected        the handler failed for good                   dead-letter
//	poisoned        its attempts are used up                      dead-letter
//	mismatch        the id of another message                     dead-letter
//	too-old         maybe done and forgotten                      dead-letter
//	unnamed         nothing tells it from others                  dead-letter
//
// [Consumer.Handle] decides and lets an adapter tell the broker; [Consumer.Consume] does both by
// [Message.Verbs]; [Wrap] is for what already is a function of a context and a message.
//
// # Errors, poison and stopping
//
// A [Handler] that returns nil is done, [once.Final] has failed for good, and after any other error or a
// panic the message is handled again, later and later, until its attempts are used up: then it is poisoned,
// and set aside by [Config.DeadLetter] or the adapter. [once.NoEffect] says that nothing has happened, and is
// tried again for ever. Without a place for dead letters nothing is dropped: the message comes again.
//
// What is neither done nor in flight is logged, unless there is a [Config.Observe] to be told of it. A
// message that its broker delivers to nobody any more is not known here: brokers' own limits of
// deliveries have to be greater than the guard's MaxAttempts, or none.
//
// When the consumer stops, its context ends those of handlers. What they come to is recorded and said to the
// broker nevertheless; both leases are renewed until they return. What was not begun is given back.
//
// # Keys
//
// The key is the subscriber's name and the message's id; see [DefaultKey]. The name is not made up
// from the code: renaming a function must not make every message new.
//
// # Outputs
//
// What a handler produces it hands to [Emit]. It is recorded with the outcome, published after
// that, and acknowledged last: if publishing fails the message comes again, and the outputs are
// published without the handler being run. Their ids are derived from the key, so that their
// consumers, if they too handle once, do not mind.
//
// # What it cannot do
//
// A crash between the effect of a handler and its record leaves the message in doubt, as everywhere; see
// package once for the three ways out. [InTransaction] is one.
//
// A message that fails is handled again after those that came later. Nothing here restores the
// order: an adapter for an ordered broker hands the message over again before the next.
//
// A message whose copy comes when its record has expired is run again. [Config.Window] must be
// longer than copies can come; [Config.BrokerRetention] checks that, and [Config.TooOld]
// refuses what comes later.
//
// A message may be dead-lettered twice, if the first acknowledgement was lost.
package oncemsg
