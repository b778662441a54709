package oncenats_test

import (
	"flag"
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
	checkLinear(t, s, linear.Cutting(p, time.Second))
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
			linear.Sleep(stop, 5*time.Second)
		}
	})
	s := open(t, oncenats.Config{DSN: "nats://" + join(addrs), Timeout: 2 * time.Second})
	checkLinear(t, s, disturbances...)
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
	linear.Sleep(stop, time.Second)
}

func checkLinear(t *testing.T, s once.Store, disturbances ...func(stop <-chan struct{})) {
	t.Helper()
	// The more calls have an unknown end, the longer is the search.
	o := linear.Options{Calls: *linearCalls, Clients: 6, CallsPerKey: 30, Unknown: -1}
	linear.CheckGroups(t, s, o, 8, disturbances...)
}
