// Package oncetest checks implementations of [once.Store] against the contract, and holds what
// tests of stores and of their users need: the contract as a program ([Model]) and a store that
// misbehaves on request ([Faulty]).
//
// A store's own test is one call:
//
//	func TestContract(t *testing.T) {
//		oncetest.TestStore(t, oncetest.Options{
//			Open: func(t *testing.T) once.Store { return openForTest(t) },
//		})
//	}
//
// Every MUST of the contract is a subtest of that name. A store that passes needs no tests of its
// own for the contract, only for what is its own.
package oncetest
