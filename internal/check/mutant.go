package check

import "github.com/oncehq/once"

// A mutant is a deliberate mistake, by which the checks are checked. Its zero value makes none.
type mutant struct {
	name  string
	verbs func(w *world, v *verbs)               // changes the store's verbs
	store func(s once.Store) once.Store          // wraps a process's connection to the store
	guard func(w *world, s once.Store) performer // stands in for the guard
	slot  func(w *world, key int) int            // where the store keeps a record
	reply func(r *request)                       // changes what the store replies
	lag   bool                                   // the store replies before a verb is durable

	// deaf says that the guard has no heartbeats: it cannot notice the end of a lease.
	deaf bool

	// unprobed leaves out that verbs are tried on copies, which notices most mistakes in them
	// before they do harm: the check of the verb itself has to find it.
	unprobed bool
}
