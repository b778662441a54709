// Package onceetcd keeps records in an etcd cluster.
//
//	store, err := onceetcd.Open(ctx, onceetcd.Config{DSN: "etcd://10.0.0.1,10.0.0.2,10.0.0.3/shop"})
//	…
//	defer store.Close()
//	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold})
//
// Every verb is one transaction, which etcd carries out whole or not at all, on a majority of its
// members, and in one order with all others. Reads are linearizable. So a claim that was
// acknowledged is known to whoever leads next, and no key is claimed twice, whichever members
// fail, be it that they are killed or lose power: as long as a majority comes back with its disks.
// [Store.Guarantees] says so of the cluster at hand, and [Store.Doctor] what to change.
//
// # Time
//
// Etcd has no clock that a transaction could look at; but it has leases, which it ends by the
// leader's monotonic clock, together with the keys that are attached to them. So nothing here
// compares times: an operation is in flight as long as there is a key that says so, and that key is
// attached to an etcd lease; and an outcome goes when its etcd lease is over. What time it is for a
// client, or on a server, does not matter.
//
// An etcd lease is granted in a round trip of its own. To keep every verb at one, leases are
// granted in the background, before they are needed, for each duration that is in use; and up
// to a thousand keys share one, so that a million records need no million leases. The process knows
// how long ago it asked for the lease, and uses it only as long as enough of it is left. Therefore:
//
//   - A lease or retention is never over too early, counted from when the verb was called. A verb that
//     was itself held up, on the way, for longer than that, finds its lease gone, and gets another.
//   - It is over too late by half a second to two, and by up to five percent: the duration is rounded
//     up, the etcd lease is up to a 64th and half a second longer, etcd counts whole seconds and never less
//     than one and a half election timeouts (2 s as it is), and looks twice a second for what is over.
//   - When the leader changes, etcd lets all leases begin anew. Then a retention can be up to twice as
//     long as was asked for. With etcd's LeaseCheckpoint feature that is five minutes at most.
//   - What is left of a lease or a retention, in a record, is known at once for etcd leases of this
//     process. For another process's the cluster is asked, once for each etcd lease: the first record of each thousand
//     costs a second round trip.
//   - The first verb with a duration that was not used for a minute waits for its etcd lease.
//
// The policy Rerun lets a claim be forgotten after a time in doubt: its key is attached to an etcd
// lease then, which a renewal every now and then, in a second round trip, replaces by a later one.
//
// [once.Record].Created is what the clock of the process showed that made the claim. It is for people, and
// for [once.Filter].OlderThan, and decides nothing.
//
// # Limits
//
// Etcd takes requests up to 1.5 MiB (--max-request-bytes), so outcomes are limited to 1 MiB unless
// Config.MaxOutcome says otherwise; what is larger is refused with [once.ErrTooLarge]. An outcome of
// more than 4 KiB is kept in a key of its own.
//
// A cluster has a quota (--quota-backend-bytes, 2 GiB as it is; more than 8 GiB is advised against). It
// counts all versions of all keys until they are compacted: run etcd with --auto-compaction-retention.
// When the quota is used up, claims are refused with [once.ErrFull], unless they can be answered
// by a record that is there. Etcd refuses completions and renewals too then: they are repeated as long as the
// lease lives, and after that the operation is in doubt. Watch the size of the database.
//
// What is over etcd removes by itself, the keys of a lease in one step: those of up to a thousand
// records. Records that end at the pace at which they were made disturb nobody; but if hundreds of
// thousands end at the same moment, claims wait until they are gone, perhaps for seconds.
//
// # Rights
//
// With authentication the user needs a role that may read and write the prefix:
//
//	etcdctl role grant-permission --prefix=true once readwrite shop/
//
// # How records are kept
//
// A record is two keys while it is in flight, one in doubt, and two or three when done. Their names are
//
//	<prefix>r/<length of the scope>:<scope><length of the id>:<id>/c    the claim: who owns it
//	<prefix>r/…/f    there while the operation is in flight
//	<prefix>r/…/o    the outcome
//	<prefix>d/…/     the outcome's data, if it is large
//
// Scope and id are as they are, whatever bytes they have: who can list the keys can read them.
// Nothing has to be migrated or swept.
//
// # Fences
//
// A fence is the revision of the cluster in which the operation was claimed, or one close to it after a
// takeover. It grows for ever, unless the cluster is restored from a snapshot: use etcdutl's
// --bump-revision then.
package onceetcd
