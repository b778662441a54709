package once

import "fmt"

// Survival says whether an acknowledged claim survives an event.
type Survival uint8

const (
	Lost          Survival = iota // an acknowledged claim may be forgotten
	Survives                      // an acknowledged claim is remembered
	NotApplicable                 // the event cannot happen to this store
)

// String returns "lost", "survives" or "n/a".
func (s Survival) String() string {
	switch s {
	case Lost:
		return "lost"
	case Survives:
		return "survives"
	case NotApplicable:
		return "n/a"
	}
	return fmt.Sprintf("Survival(%d)", uint8(s))
}

// Guarantees say what a store's acknowledgement is worth with the settings it runs on.
// The zero value promises nothing.
type Guarantees struct {
	Store    string   // name of the engine
	Crash    Survival // the store's process is killed
	Power    Survival // the machine loses power
	Failover Survival // another machine takes over from a failed one
	Shared   bool     // processes on several machines may use the store at once
	Notes    []string // what to change, and what the above rests on, a sentence each
}

// Weakness names the first event that an acknowledged claim may not survive, or is empty.
func (g Guarantees) Weakness() string {
	switch {
	case g.Crash == Lost:
		return "the end of the store's process"
	case g.Power == Lost:
		return "a loss of power"
	case g.Failover == Lost:
		return "a failover"
	}
	return ""
}

// A Guarantor is a [Store] that says what its acknowledgement is worth.
type Guarantor interface {
	Guarantees() Guarantees
}
