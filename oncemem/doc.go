// Package oncemem keeps records in the memory of one process: for tests, for development, and for
// programs that may forget everything when they end.
//
// A [Store] is exact about everything but survival: when the process ends, its claims and
// outcomes are gone, and an operation that had happened may happen again. [Store.Guarantees] says
// so, and a guard with the policy Hold refuses to be built on it unless told otherwise. Use
// oncedisk for the same in a directory that survives.
//
// The store has no goroutine of its own. Records that are over are absent to every verb at once,
// and their memory is given back by the claims that follow, a few records at a time.
package oncemem
