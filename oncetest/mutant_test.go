package oncetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// A mutant is a store with one bug, and the property that has to fail because of it.
type mutant struct {
	name   string
	fails  string
	twist  func(*twisted) // nil: none
	change func(*Options) // nil: not at all
}

// Short names, for signatures that the mutants repeat.
type (
	ctx     = context.Context
	key     = once.Key
	owner   = once.Owner
	outcome = once.Outcome
)

var mutants = slices.Concat(claimMutants, outcomeMutants, optionalMutants, handleMutants)

// The mutants run in a process of their own, since they are to fail.
const mutantEnv = "ONCETEST_MUTANTS"

// TestKitFailsMutants shows the power of the kit: for each of many bugs there is the property that
// a store with it does not have.
func TestKitFailsMutants(t *testing.T) {
	if os.Getenv(mutantEnv) != "" {
		for _, m := range mutants {
			t.Run(m.name, m.test)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.timeout=5m")
	run.Env = append(os.Environ(), mutantEnv+"=1")
	out, err := run.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Fatalf("the mutants did not fail (%v)", err)
	}
	for _, m := range mutants {
		want := "--- FAIL: " + t.Name() + "/" + testName(m.name) + "/" + testName(m.fails) + " "
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: the kit does not find that %q fails", m.name, m.fails)
		}
	}
	if t.Failed() {
		t.Logf("the mutants' test ended with:\n%s", out[max(0, len(out)-2000):])
	}
}

// test runs the property that the mutant has to fail.
func (m mutant) test(t *testing.T) {
	for _, chapter := range chapters {
		for _, p := range chapter {
			if p.name == m.fails {
				p.test(t, m.options().withDefaults())
			}
		}
	}
}

// TestKitPassesModel shows that it is the bugs that make the kit fail.
func TestKitPassesModel(t *testing.T) {
	TestStore(t, mutant{}.options())
}

func (m mutant) options() Options {
	open := func(*testing.T) once.Store { return newTwisted(m.twist) }
	o := Options{
		Open:         open,
		Second:       func(_ *testing.T, s once.Store) once.Store { return s },
		Reopen:       func(_ *testing.T, s once.Store) once.Store { return s },
		SkewedHandle: func(_ *testing.T, s once.Store, _ time.Duration) once.Store { return s },
		Bubble:       true,
	}
	if m.change != nil {
		m.change(&o)
	}
	return o
}

// testName is what the testing package makes of the name of a subtest.
func testName(s string) string { return strings.ReplaceAll(s, " ", "_") }
