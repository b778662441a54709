// Package once makes an operation happen once, however often it is requested, and gives every
// caller the same answer: [sync.Once] for distributed systems.
//
// An operation is named by a [Key] and guarded by a [Guard] over a [Store]. The first caller
// claims the key, runs, and its outcome is recorded; every later caller is given that outcome.
// A caller that comes while the first one runs is refused, or waits.
//
//	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold})
//	…
//	receipt, err := once.Do(ctx, guard, once.Key{Scope: "charge", ID: orderID}, once.Fingerprint{},
//		func(ctx context.Context) (Receipt, error) { return charge(ctx, order) })
//
// # What cannot be promised
//
// Between "the effect happened" and "the record says so" a crash leaves doubt, and no library
// can take it away: the effect is somewhere else. Once does not hide it. The record goes in
// doubt, and [Config.InDoubt] says beforehand what that means: [Rerun] lets the next caller run
// the operation again (at least once), [Hold] refuses until somebody has found out (at most
// once). Three ways close the gap entirely:
//
//   - The effect commits in the same database transaction as the record: see the transactional
//     mode of the database stores, and [Binder].
//   - The provider of the effect is handed [DerivedID], which stays the same over all attempts, and
//     ignores what it has seen before.
//   - The operation is cut into steps with [Step], so that at most one step is in doubt.
//
// A lease is no proof either: a process may sleep through the end of its lease and then go on.
// Its records are safe, for a late owner can change nothing once another took over; the outside
// world is safe only if it checks [Attempt.Fence] or the derived id.
//
// # Time
//
// Leases and retentions are measured by the store's clock alone. Wrong clocks of callers change
// nothing. When a record's retention is over the operation is forgotten, and the next request with its key
// runs: a retention must be longer than the time in which callers may still retry.
//
// # Errors
//
// The function given to [Do] says by its error what happened: nil and [Final] are recorded and
// replayed; [NoEffect] releases the key; any other error, like a panic, leaves the operation in doubt,
// since only the function can know whether its effect took place.
package once
