package check

import (
	"slices"
	"testing"
)

func culprits() []culprit {
	return slices.Concat(
		guardMutants(), ownerMutants(), completeMutants(), takeoverMutants(), replyMutants(), otherMutants(),
	)
}

// scenarios returns those of the study with the mutant in them.
func (c culprit) scenarios() (in func() engine, scs []*scenario) {
	for _, s := range studies() {
		if s.name == c.study {
			for _, sc := range s.policies() {
				if c.policy != 0 && c.policy != sc.policy {
					continue
				}
				sc.mutant = c.mutant
				sc.attempts = c.attempts
				scs = append(scs, sc)
			}
			return s.in, scs
		}
	}
	panic("check: no study " + c.study)
}

// TestPlainGuard is the control: without a mistake the plain guard passes.
func TestPlainGuard(t *testing.T) {
	for _, s := range studies() {
		if s.limits.passes > 0 || s.wait > 0 || s.transactional {
			continue // it has no heartbeats, does not wait, and does not run again
		}
		for _, sc := range s.policies() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				sc.mutant = mutant{guard: plain{}.guard, deaf: true}
				if x := explore(t, sc, s.in(), repeated); x.violation != nil {
					t.Errorf("%v\n%s", x.violation, x.log)
				}
			})
		}
	}
}

// TestPlainGuardByChance is the same control for simulations.
func TestPlainGuardByChance(t *testing.T) {
	t.Parallel()
	for n := range uint64(500) {
		if w := simulate(t, n, mutant{guard: plain{}.guard, deaf: true}, nil); w.violation != nil {
			t.Fatalf("seed %d: %v", n, w.violation)
		}
	}
}

// TestMutantsAreCaughtByExhaustion puts one mistake after the other into the guard or the store:
// some history must show each.
func TestMutantsAreCaughtByExhaustion(t *testing.T) {
	t.Parallel()
	caught := 0
	var by [len(invariants)]int
	all := culprits()
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			in, scs := c.scenarios()
			for misfortunes := c.needs; misfortunes <= 3; misfortunes++ {
				for _, sc := range scs {
					x := explore(t, sc, in(), misfortunes)
					if x.violation != nil {
						caught++
						by[x.violation.invariant]++
						t.Logf("caught by invariant %d after %d runs, with %d misfortunes under %v: %s",
							x.violation.invariant, x.runs, misfortunes, sc.policy, x.violation.text)
						return
					}
				}
			}
			t.Error("not caught")
		})
	}
	t.Logf("%d of %d mutants caught", caught, len(all))
	for i := 1; i < len(by) && caught == len(all); i++ {
		if by[i] == 0 {
			t.Errorf("no mutant is caught by invariant %d (%s): nothing shows that it is checked",
				i, invariants[i])
		}
	}
}

// TestMutantsAreCaughtByChance does the same by simulation.
func TestMutantsAreCaughtByChance(t *testing.T) {
	t.Parallel()
	caught := 0
	all := culprits()
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			for n := range uint64(5000) {
				if w := simulate(t, n, c.mutant, nil); w.violation != nil {
					caught++
					t.Logf("caught by invariant %d in seed %d: %s", w.violation.invariant, n, w.violation.text)
					return
				}
			}
			t.Error("not caught")
		})
	}
	t.Logf("%d of %d mutants caught", caught, len(all))
}
