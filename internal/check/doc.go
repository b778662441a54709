// Package check proves the guard's state machine (docs/DESIGN.md 3): it runs the real guard over a
// store that is nothing but the contract, lets everything go wrong that can, and checks every
// invariant after every step.
//
// # What runs
//
// A world is one history: processes with callers, each of which asks for operations by [once.Do],
// and a store. The guard is the real one; the store (entry, verbs) is the contract of [once.Store]
// as functions of one value and a clock. Every request of the guard, and the moment in which an
// operation takes effect, stops the caller. A scheduler then decides what happens next: the request
// is served; or it is served and its reply is lost; or it is lost itself; or it comes late, after
// the caller was told that nothing is known; the caller's process crashes; its context is cancelled;
// a lease or a retention ends; an operator intervenes; time passes and heartbeats fire. Between two
// stops a caller touches nothing that others see, so that this covers every interleaving.
//
// # What is checked
//
// A ledger notes of each operation what the verbs were asked and what they did, and believes
// nothing that the guard or the store says of itself. From it follow the verdicts on every verb
// (checks.go), on every operation that is about to run or to take effect and on everything that a
// caller is told (answers.go), and on every record between two steps (ledger.go). The verbs of all
// owners are also tried on copies of the record: they must succeed for the present owner only. At
// the end of a history somebody new must learn how things stand.
//
// # Two depths
//
// The exhaustive search (explore.go) goes through all histories of small scenarios with up to
// -misfortunes misfortunes. It is a depth-first search that starts each run from nothing, and
// breaks it off in a state that it has left for good before. What lies beyond such a state depends
// on the store, the ledgers, what may still happen, and the state of the processes; and a process
// is a program whose state follows from what it was told, in that order. So the digest of these is
// the digest of the state. Tests compare the search with one that remembers nothing and with one on
// another engine: they must count the same histories.
//
// The simulation (simulate.go) runs one long history for each seed, in which everything is left to
// chance: more callers, processes that they share, steps, locks, transactions, work that takes
// longer than a lease, partitions, and a store's clock that is fast or slow.
//
// # Clocks
//
// Instants of a client never reach the store: the verbs take durations, and contexts are the
// process's own. A process thus depends on differences of its own clock and on the replies, so that
// to put one client's clock wrong is to put all clocks wrong for that client alone. This is what
// the tests do: histories are the same by clocks that are an hour wrong, and leases that end by the
// store's clock while the clients' stand still, or run at another rate, break no invariant.
//
// # Why believe it
//
// Because it can fail. Each of the mutants (mutants_*_test.go) is a mistake in the store or in a
// plainly written guard: all of them must be caught at both depths, every invariant must catch one,
// and without a mistake the plain guard must pass. And because it has looked: each invariant's test
// fails if no history put it to the test.
//
// What it does not show: that a real store keeps the contract (see oncetest, and the package linear
// beside this one), what happens within a verb or between two instructions of the guard that share
// memory (see the race detector), and anything beyond the bounds of the scenarios.
package check
