// Package oncepg keeps records in PostgreSQL, version 12 or newer.
//
// There are two ways to use it. A [Store] claims with a lease, like every other store: the
// operation may do anything anywhere, and is in doubt if its owner dies. A [Transactional] store
// claims in a transaction that the operation finds in its context ([Tx]): what it does there is
// committed together with its outcome or not at all, so its effects in that database happen
// exactly once. [Store.Commit] is between the two: a claim with a lease whose outcome is committed
// in a transaction of the caller's own.
//
// Nothing is created silently: [Migrate] makes the tables, or [Schema] prints the SQL. [Open]
// refuses a server that takes no writes, is too old, or runs with fsync off.
//
// # Cost
//
// A fresh claim, a replay, a renewal and a completion are one round trip and one statement each;
// a takeover is two. Verbs of many goroutines that come while others are on their way share a
// round trip and a commit. A replay writes nothing. The server's clock alone decides when a lease
// or a retention is over.
//
// # Rows
//
// A record that is over is absent at once, and its row is removed an hour later: until then it
// lets a lost COMMIT be settled, and keeps the fences of its key growing.
package oncepg
