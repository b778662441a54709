package check

import (
	"slices"

	"github.com/oncehq/once"
)

var (
	opA     = once.Key{Scope: "shop", ID: "a"}
	opB     = once.Key{Scope: "shop", ID: "b"}
	othersA = once.Key{Scope: "bank", ID: "a"}
)

// A study is a scenario every history of which is gone through.
type study struct {
	scenario
	both  bool // under each policy
	in    func() engine
	heavy bool // has many histories
}

func inCoroutines() engine { return &coroutines{} }
func inGoroutines() engine { return goroutines{} }

func alike(n int, calls ...call) [][]call {
	return slices.Repeat([][]call{calls}, n)
}

func studies() []study {
	return slices.Concat(basics(), misfits(), bubbles())
}

// basics are callers, operations, endings and requests that do not go together.
func basics() []study {
	return []study{{
		scenario: scenario{
			name: "two callers, two operations", calls: alike(2, call{key: opA}, call{key: opB}), alike: true,
			limits: limits{faults: 3, crashes: 2, expiries: 3, powerCuts: 1},
		},
		both: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name: "three callers, one operation", calls: alike(3, call{key: opA}), alike: true,
			limits: limits{faults: 3, crashes: 2, expiries: 3, powerCuts: 1},
		},
		both: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name: "every ending", calls: alike(2, call{key: opA}), alike: true,
			endings: []ending{succeeds, fails, nothing, unclear, panics, giveUp, rollsBack},
			limits:  limits{endings: 2, faults: 3, crashes: 2, expiries: 3, powerCuts: 1},
		},
		both: true, heavy: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name:   "other requests, other scopes",
			calls:  [][]call{{{key: opA, body: 1}}, {{key: opA, body: 2}}, {{key: othersA, body: 1}}},
			limits: limits{faults: 3, crashes: 2, expiries: 3, powerCuts: 1},
		},
		both: true, heavy: true, in: inCoroutines,
	}}
}

// misfits are the rarer things that happen.
func misfits() []study {
	return []study{{
		scenario: scenario{
			name: "late verbs", calls: alike(2, call{key: opA}), alike: true,
			limits: limits{late: 3, crashes: 2, expiries: 2},
		},
		both: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name: "renewals and operators", calls: alike(2, call{key: opA}), alike: true,
			limits: limits{faults: 3, crashes: 2, expiries: 3, renewals: 2, operators: 1},
		},
		both: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name: "retention", calls: alike(2, call{key: opA}, call{key: opA}), alike: true,
			limits: limits{faults: 3, crashes: 2, expiries: 3, retirements: 1},
		},
		both: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name: "waiting and hanging up", calls: alike(2, call{key: opA}), alike: true, wait: 100 * day,
			limits: limits{faults: 3, crashes: 2, expiries: 3, hangUps: 1},
		},
		both: true, in: inCoroutines,
	}, {
		scenario: scenario{
			name: "transactions", calls: alike(2, call{key: opA}), alike: true,
			policy: once.Rerun, transactional: true,
			endings: []ending{succeeds, nothing, unclear, rollsBack},
			limits:  limits{endings: 2, faults: 3, crashes: 2},
		},
		heavy: true, in: inCoroutines,
	}}
}

// bubbles are studies of what takes timers, or callers that wait for each other.
func bubbles() []study {
	return []study{{
		scenario: scenario{
			name: "one process", calls: alike(2, call{key: opA}), process: []int{0, 0}, wait: day,
			alike: true, limits: limits{faults: 3, crashes: 2, expiries: 3, hangUps: 1},
		},
		both: true, in: inGoroutines,
	}, {
		scenario: scenario{
			name: "two processes", calls: alike(3, call{key: opA}), process: []int{0, 0, 1}, wait: day,
			limits: limits{misfortunes: 1, faults: 1, expiries: 1, crashes: 1},
		},
		both: true, heavy: true, in: inGoroutines,
	}, {
		scenario: scenario{
			name: "heartbeats", calls: alike(2, call{key: opA}), alike: true,
			limits: limits{faults: 3, crashes: 2, passes: 2},
		},
		both: true, heavy: true, in: inGoroutines,
	}}
}

// policies returns the study under each policy that it is for.
func (s study) policies() []*scenario {
	if !s.both {
		return []*scenario{&s.scenario}
	}
	hold, rerun := s.scenario, s.scenario
	hold.policy, hold.name = once.Hold, s.name+", Hold"
	rerun.policy, rerun.name = once.Rerun, s.name+", Rerun"
	return []*scenario{&hold, &rerun}
}
