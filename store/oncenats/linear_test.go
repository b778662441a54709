package oncenats_test

import (
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/linear"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/oncenats"
)

var linearCalls = flag.Int("linear", 2000, "how many verbs each check for linearizability carries out")

func TestHistoriesAreLinearizableOnOneServer(t *testing.T) {
	t.Parallel()
	n := startNodes(t, 1, false)[0]
	p := servers.NewProxy(t, n.addr())
	s := open(t, oncenats.Config{DSN: "nats://" + p.Addr, Timeout: 2 * time.Second})
	checkLinear(t, s, []func(<-chan struct{}){linear.Cutting(p, time.Second)})
}

// Three servers, each a process: the one that leads the stream is killed (-9) and started again, or
// paused, and connections are cut.
func TestHistoriesAreLinearizableWhateverFails(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, true)
	var addrs []string
	var disturbances []func(<-chan struct{})
	for _, n := range nodes {
		p := servers.NewProxy(t, n.addr())
		addrs = append(addrs, p.Addr)
		disturbances = append(disturbances, linear.Cutting(p, 2*time.Second))
	}
	disturbances = append(disturbances, func(stop <-chan struct{}) {
		for n := 0; !closed(stop); n++ {
			if n%2 == 0 {
				killLeaders(t, nodes, 1, stop)
			} else {
				pauseLeader(t, nodes, stop)
			}
			sleep(stop, 5*time.Second)
		}
	})
	s := open(t, oncenats.Config{DSN: "nats://" + join(addrs), Timeout: 2 * time.Second})
	checkLinear(t, s, disturbances)
}

// pauseLeader pauses the stream's leader until another one leads, and then lets it go on.
func pauseLeader(t *testing.T, nodes []*node, stop <-chan struct{}) {
	var old *node
	eventually(t, "there is a leader", func() bool {
		old = leader(t, nodes)
		return old != nil || closed(stop)
	})
	if old == nil {
		return
	}
	old.pause()
	defer old.resume()
	eventually(t, "there is another leader", func() bool {
		now := leader(t, nodes)
		return now != nil && now != old || closed(stop)
	})
	sleep(stop, time.Second)
}

func sleep(stop <-chan struct{}, d time.Duration) {
	select {
	case <-stop:
	case <-time.After(d):
	}
}

// checkLinear lets several groups of clients, each on keys of its own, loose on the store, as long as it
// is disturbed.
func checkLinear(t *testing.T, s once.Store, disturbances []func(stop <-chan struct{})) {
	stop := make(chan struct{})
	var disturbed, clients sync.WaitGroup
	defer disturbed.Wait()
	defer close(stop)
	for _, f := range disturbances {
		disturbed.Go(func() { f(stop) })
	}
	const group = 5000 // verbs, at least
	groups := max(1, min(*linearCalls/group, 8))
	results := make([]linear.Result, groups)
	began := time.Now()
	for i := range results {
		clients.Go(func() {
			// The more calls have an unknown end, the longer is the search.
			results[i] = linear.Run(s, linear.Options{Calls: *linearCalls / groups, Clients: 6, CallsPerKey: 30, Unknown: -1})
		})
	}
	clients.Wait()
	var sum linear.Result
	for _, r := range results {
		if r.Bad != "" {
			t.Fatalf("no order of these verbs explains the replies:\n%s", r.Bad)
		}
		sum.Calls, sum.Keys = sum.Calls+r.Calls, sum.Keys+r.Keys
		sum.Unknown, sum.Undecided = sum.Unknown+r.Unknown, sum.Undecided+r.Undecided
	}
	t.Logf("%d verbs on %d keys by %d clients in %v, %d of them with an unknown end; %d keys are undecided",
		sum.Calls, sum.Keys, 6*groups, time.Since(began).Round(time.Second), sum.Unknown, sum.Undecided)
	if 10*sum.Undecided > sum.Keys {
		t.Error("too many keys are undecided to prove anything")
	}
}
