package linear

import (
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// groupCalls is how many calls a group of clients carries out at least, if there are several.
const groupCalls = 5000

// CheckGroups is [Check] for a store whose verbs take long, and which must be given many at a time: the
// calls are shared out among groups of clients, each on keys of its own. There are at most that many
// groups. The store is disturbed in all of the ways at once for as long as any of them is at work, and not by
// Options.Disturb.
func CheckGroups(t testing.TB, s once.Store, o Options, most int, disturb ...func(stop <-chan struct{})) {
	t.Helper()
	o = o.withDefaults()
	groups := max(1, min(o.Calls/groupCalls, most))
	o.Calls, o.Seed, o.Disturb = o.Calls/groups, 0, nil
	stop := make(chan struct{})
	var disturbed, clients sync.WaitGroup
	defer disturbed.Wait()
	defer close(stop)
	for _, f := range disturb {
		disturbed.Go(func() { f(stop) })
	}
	results := make([]Result, groups)
	start := time.Now()
	for i := range results {
		clients.Go(func() { results[i] = Run(s, o) })
	}
	clients.Wait()
	var sum Result
	for _, r := range results {
		if r.Bad != "" {
			t.Fatalf("no order of these verbs explains the replies:\n%s", r.Bad)
		}
		sum.Calls, sum.Keys = sum.Calls+r.Calls, sum.Keys+r.Keys
		sum.Unknown, sum.Undecided = sum.Unknown+r.Unknown, sum.Undecided+r.Undecided
	}
	t.Logf("%d verbs on %d keys by %d clients in %v, %d of them with an unknown end; %d keys are undecided",
		sum.Calls, sum.Keys, groups*o.Clients, time.Since(start).Round(time.Second), sum.Unknown, sum.Undecided)
	if 10*sum.Undecided > sum.Keys {
		t.Error("too many keys are undecided to prove anything")
	}
}
