package once

import "time"

// An EventKind says what happened.
type EventKind uint8

const (
	Claimed   EventKind = 1 + iota // a caller became the owner; Attempt > 1: it took over
	Replayed                       // a caller was given the stored outcome; Duration: it waited so long
	Refused                        // a caller was refused; Err says why
	Completed                      // the owner's outcome was recorded; Duration: since the claim
	Released                       // the owner's claim was released
	Abandoned                      // the owner ended its lease without knowing: in doubt
	OwnerLost                      // the owner lost the operation, or could not renew in time
	Renewed                        // the lease was renewed; Err: it was not, and will be tried again
)

var eventNames = [...]string{"", "claimed", "replayed", "refused", "completed", "released", "abandoned", "owner-lost", "renewed"}

// String returns the kind in lower case.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && k != 0 {
		return eventNames[k]
	}
	return "unknown"
}

// An Event is told to [Config.Observe].
type Event struct {
	Kind     EventKind
	Key      Key
	Attempt  int
	Duration time.Duration
	Err      error
}
