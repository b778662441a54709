package oncedisk

import "sync/atomic"

// An alarm tells the sweeper when there will be something to do.
type alarm struct {
	at      atomic.Int64 // instant
	changed chan struct{}
}

func newAlarm() *alarm {
	a := &alarm{changed: make(chan struct{}, 1)}
	a.at.Store(int64(never))
	return a
}

// set makes the alarm go off at t, if it does not earlier.
func (a *alarm) set(t instant) {
	for {
		old := a.at.Load()
		if int64(t) >= old {
			return
		}
		if a.at.CompareAndSwap(old, int64(t)) {
			select {
			case a.changed <- struct{}{}:
			default:
			}
			return
		}
	}
}

// clear forgets what was set.
func (a *alarm) clear() { a.at.Store(int64(never)) }

func (a *alarm) when() instant { return instant(a.at.Load()) }
