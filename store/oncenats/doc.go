// Package oncenats keeps records in a stream of NATS JetStream, on one server or on a cluster in
// which most servers have a claim before it counts (Raft).
//
//	err := oncenats.Migrate(ctx, oncenats.Config{DSN: dsn}) // once: makes the stream
//	…
//	store, err := oncenats.Open(ctx, oncenats.Config{DSN: dsn})
//	…
//	defer store.Close()
//	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
//
// # What survives
//
// An acknowledged claim or outcome is remembered as follows. [Store.Guarantees] says the same
// of the servers at hand, and [Store.Doctor] what to change.
//
//	stream and setting                   process killed   power lost   failover
//	memory, 1 replica                    lost             lost         –
//	file, 1 replica, persist_mode async  lost             lost         –
//	file, 1 replica                      survives         lost         –
//	file, 1 replica, sync always         survives         survives     –
//	memory, 3 or 5 replicas              survives         lost         survives
//	file, 3 or 5 replicas                survives         lost         survives
//	file, 3 or 5 replicas, sync always   survives         survives     survives
//
// NATS acknowledges a message when it has handed it to the operating system, and by default syncs
// every two minutes: when the power fails everywhere at the same time, what was acknowledged since
// is lost, and the whole stream perhaps. sync_interval: always, in the servers' block jetstream,
// ends that. Ordinary users cannot see the setting; Config.Monitor names the servers' HTTP
// monitoring, which tells. Without it the store promises less than it may keep, and a guard with
// the policy Hold asks for DangerouslyTrustStore.
//
// # How a record is kept
//
// A record is the last message of its subject, once.STREAM.<digest of the scope>.<digest of the key>,
// and the stream keeps one message for each. What makes claims exclusive is that the server takes
// a message only if the last one of its subject has the sequence number that the writer expects, 0
// for none (Nats-Expected-Last-Subject-Sequence). Every change is such a message, also a release:
// it writes that the record was removed, since the server orders removals of messages and
// such messages less strictly. The fence of a claim is the sequence number of its message.
//
// So who writes must know what to expect. A fresh claim expects nothing. An owner completes, renews
// and releases what this process has claimed, and so knows; if not, it is read first.
//
//	verb                                        round trips  requests
//	claim: fresh, replay, in flight             1            2 or 3
//	claim: in doubt since a lease ran out       2            3 to 5
//	claim: takeover, or right after a release   2            4 to 6
//	renew, complete, release                    1            1
//	the same through another process            2            3 or 4
//	load                                        1            1 or 2
//	load: in doubt since a lease ran out        2            2 to 4
//
// A claim sends its message, the question how the record stands and the question what time it
// is, one after the other without waiting. If the message is taken the rest does not matter. That a
// lease has run out is said when the record was read once more, unchanged, after the time was told.
//
// # Whose clock decides
//
// A lease or a retention begins at its message's timestamp, which the stream's leader sets, and how
// long it is stands in the message. Whether it is over is decided by the time that the leader tells
// beside the record: only its description of a stream tells it (STREAM.INFO), so that is asked for
// along with the record. Verbs at the same time share the answer; where it makes a difference that the
// question was asked a little before a verb began, that verb asks again. What time it is for the client
// is in none of this. It is a client that concludes that a lease is over, but one that concluded from
// an old record cannot take over: the server refuses its message.
//
// The server removes what is over by itself: every message has a time to live (Nats-TTL, of 2.11), in
// seconds, and a little longer than the record is needed. Whether the message is there still is
// never taken for an answer. Claims under the policy Hold have none.
//
// All questions go to the stream's leader (STREAM.MSG.GET), none to replicas, whatever the stream's
// allow_direct says. A leader that was cut off answers for up to ten seconds more, before it
// notices: a load or a replay may see what was true before the partition, as an operation that is
// still in flight. It cannot take a claim.
//
// # What the servers need
//
// NATS 2.11 or newer, and 2.12 for a stream of several replicas, with JetStream. The stream is made by
// [Migrate] or once migrate, never by [Open], which refuses one that could drop a claim: with max_age,
// discard old, work queues.
// An outcome shares a message with its key: the server's max_payload, 1 MiB by default, bounds both
// together, and [Store.MaxOutcome] says how much is left for the outcome. When the stream is full
// (max_bytes, max_msgs, the account's limits) claims are refused with [once.ErrFull]; but so are
// outcomes that are larger than their claims, which leaves operations in doubt: give it room.
//
// A user needs these permissions, with the stream's name for STREAM:
//
//	publish    once.STREAM.>  $JS.API.STREAM.INFO.STREAM  $JS.API.STREAM.MSG.GET.STREAM
//	subscribe  _INBOX.>  once-told.STREAM.>
//
// and to list publish $JS.API.CONSUMER.X.STREAM.>, with CREATE, DELETE, INFO and MSG.NEXT for X, to
// migrate $JS.API.STREAM.CREATE.STREAM and $JS.API.STREAM.UPDATE.STREAM.
//
// Whoever may write to once.STREAM.> or delete messages of the stream can make operations happen
// again: give these subjects to nobody else. Fences begin anew when the stream is made anew.
package oncenats
