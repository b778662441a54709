package oncemsg

import (
	"context"
	"time"
)

// A Message is one delivery of a message: a copy, of which the broker may deliver more. It is a
// neutral description, made by an adapter or by the function given to [Wrap]. Only what tells
// the message from others is needed: ID, or Position, or the headers of a CloudEvent.
type Message struct {
	// Source says within what ID is unique: a producer, a topic, a queue. It is part of the key.
	// Empty: IDs are unique for the subscriber.
	Source string

	// ID is what the producer calls the message; the same in each copy, also in one that the
	// producer sent again. Empty: it has no name.
	ID string

	// Position is what the broker calls the message: topic, partition and offset, or the
	// sequence in a stream. It stays the same when the broker delivers again, but not when the
	// producer sends again. Empty: unknown.
	Position string

	// Payload is read by [ContentFingerprint], [WeakContent] and [CloudEventID] alone.
	Payload []byte

	// Header returns the value of a header, or "". Nil: there are none.
	Header func(name string) string

	// Time is when the message was produced. Zero: unknown.
	Time time.Time

	// Attempt is the number of this delivery, from 1, if the broker or the adapter counts.
	// Zero: unknown. A failed message waits the longer for it. The record's own count decides if it
	// is poisoned; in the modes [InTransaction] and [DropOnlyMayLose], where a failure leaves no
	// record, it is this one or that of failures in this process, whichever is greater.
	Attempt int

	// Lease is how long the broker waits for an answer before it delivers again: acknowledge
	// wait, visibility timeout. It is renewed by Verbs.Extend. Zero: the broker has no lease.
	Lease time.Duration

	// Deadline is when the present lease is over. Zero: it is taken to begin when the message
	// is handed over.
	Deadline time.Time

	// Replay runs the message once more although it is recorded: once for each name given
	// here, such as that of a ticket. The name must not be what every message carries, and is up
	// to an operator: a header set by who moves messages back from a dead-letter queue. The
	// operation has another key then, and so other derived ids; see [Consumer.Forget] for a
	// replay under the same ones. Empty: no replay.
	Replay string

	// Verbs are what can be said to the broker about this delivery. Only [Consumer.Consume] and
	// [Consumer.Settle] need them, and Verbs.Extend serves [Consumer.Handle] too.
	Verbs Verbs

	// Native is the broker's own message, for the handler.
	Native any
}

// Lookup returns the value of a header, or "".
func (m Message) Lookup(name string) string {
	if m.Header == nil {
		return ""
	}
	return m.Header(name)
}

// Verbs are what a broker lets its consumers say about one delivery. A nil function is
// something that it does not know. They are called under a context with a deadline.
type Verbs struct {
	// Ack says that the message is dealt with and must not be delivered again.
	Ack func(context.Context) error

	// Nak asks for another delivery. Nil: the broker delivers again when its lease is over.
	Nak func(ctx context.Context, after time.Duration) error

	// Delays says that Nak heeds its duration. Otherwise the consumer waits before it calls Nak.
	Delays bool

	// Extend makes the broker's lease end Message.Lease from now. It must return when its context
	// is done.
	Extend func(context.Context) error

	// DeadLetter sets the message aside for people to look at, and ends its delivery.
	DeadLetter func(ctx context.Context, reason string) error
}

// A Handler deals with a message, and with nothing else: it neither acknowledges nor publishes,
// but returns an error or nil and calls [Emit].
//
// Its context carries the attempt, for [once.Step] and [once.DerivedID]; over a transactional
// store it carries the transaction. It is done, with the cause [once.ErrLost], when another copy
// may soon be run; the handler should stop then.
//
// What it returns is classified as in [once.Do]. Nil: done. [once.Final]: failed for good; that
// is recorded, and a transaction committed, and the message is dead-lettered, now and whenever a
// copy of it arrives. [once.NoEffect]: nothing happened, and a first attempt does not count: such
// a message comes again for as long as it says so, and is never poisoned. Any other error, and a
// panic: nobody knows; the message is delivered again, and the guard's policy decides.
type Handler func(ctx context.Context, m Message) error
