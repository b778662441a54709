package check

import "testing"

func TestInvariant01_CompletedRecordsNeverChange(t *testing.T)     { holds(t, 1) }
func TestInvariant02_ReplaysAreIdentical(t *testing.T)             { holds(t, 2) }
func TestInvariant03_NoOutcomeBeforeItIsAcknowledged(t *testing.T) { holds(t, 3) }
func TestInvariant04_AtMostOneOwner(t *testing.T)                  { holds(t, 4) }
func TestInvariant05_StaleOwnersChangeNothing(t *testing.T)        { holds(t, 5) }
func TestInvariant06_EffectsAreBounded(t *testing.T)               { holds(t, 6) }
func TestInvariant07_OtherFingerprintsGetNothing(t *testing.T)     { holds(t, 7) }
func TestInvariant08_AttemptsAndFencesOnlyGrow(t *testing.T)       { holds(t, 8) }
func TestInvariant09_ClaimsDoNotVanish(t *testing.T)               { holds(t, 9) }
func TestInvariant10_SomebodyGetsThroughWithinALease(t *testing.T) { holds(t, 10) }
func TestInvariant11_ScopesAreApart(t *testing.T)                  { holds(t, 11) }
func TestInvariant12_RepeatedVerbsChangeNothing(t *testing.T)      { holds(t, 12) }
func TestInvariant13_ClientsClocksDoNotMatter(t *testing.T)        { holds(t, 13) }
func TestInvariant14_OwnersLearnThatTheirLeaseIsOver(t *testing.T) { holds(t, 14) }

// holds checks that the invariant holds in every history at both depths, and that there are
// histories which put it to the test.
func holds(t *testing.T, invariant int) {
	t.Log(invariants[invariant])
	t.Run("exhaustive", func(t *testing.T) {
		looked := 0
		for _, s := range studies() {
			for _, sc := range s.policies() {
				x := explored(t, s, sc, *misfortunes)
				looked += x.looked[invariant]
				if v := x.violation; v != nil && v.invariant == invariant {
					t.Errorf("%s: %s\n%s", sc.name, v.text, x.log)
				}
			}
		}
		tested(t, looked)
	})
	t.Run("simulation", func(t *testing.T) {
		s := simulated(t)
		if v := s.violation; v != nil && v.invariant == invariant {
			t.Errorf("-seed %d -seeds 1: %s\n%s", s.seed, v.text, s.log)
		}
		tested(t, s.looked[invariant])
	})
}

func tested(t *testing.T, looked int) {
	t.Helper()
	if t.Logf("checked %d times", looked); looked == 0 {
		t.Error("no history puts it to the test")
	}
}
