// Package oncetest checks implementations of [once.Store] against the contract, and has what tests
// of stores and of their users need beside: the contract as a program ([Model]), and a store
// that misbehaves by plan ([Faulty]).
//
// A store's own test is one call:
//
//	func TestContract(t *testing.T) {
//		oncetest.TestStore(t, oncetest.Options{
//			Open: func(t *testing.T) once.Store {
//				s, err := mystore.Open(dsn)
//				if err != nil {
//					t.Fatal(err)
//				}
//				t.Cleanup(func() { s.Close() })
//				return s
//			},
//		})
//	}
//
// Every MUST of the contract is a subtest, named in the contract's words, so that
//
//	go test -run 'TestContract/of_many_claims'
//
// looks at one of them. Beside these stories there are two searches for what no story tells: random
// histories of several hundred verbs, compared reply by reply with the model, and verbs
// of several callers at the same time, for which there must be an order that explains the replies.
// A failure prints the seed of its random choices ([Options].Seed repeats them).
//
// No verdict depends on how fast the tests run: what a store says about time is compared with when
// it was asked and when it had answered. Tests of stores inside the process run in synctest
// bubbles ([Options].Bubble), in which twenty years of retention take no time at all.
//
// The kit itself is tested by what it finds: for each of some seventy bugs, some of them seen in
// libraries in use, a store that has it must fail the property that is about it.
package oncetest
