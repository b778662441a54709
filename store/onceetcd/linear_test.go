package onceetcd_test

import (
	"context"
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/check/linear"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

var linearCalls = flag.Int("linear", 1200, "how many verbs the check for linearizability carries out")

// Clients of three handles use the same keys at the same time, while leaders are killed and started
// again, or paused, and connections are cut. What they saw is explained by one order of their verbs.
func TestVerbsAreLinearizableWhateverFails(t *testing.T) {
	t.Parallel()
	members := servers.EtcdCluster(t, etcd)
	var proxied []*servers.EtcdServer
	var disturbances []func(stop <-chan struct{})
	for _, m := range members {
		p := servers.NewProxy(t, m.Addr)
		proxied = append(proxied, &servers.EtcdServer{Addr: p.Addr})
		disturbances = append(disturbances, linear.Cutting(p, 1500*time.Millisecond))
	}
	disturbances = append(disturbances, func(stop <-chan struct{}) { disturb(t, members, stop) })
	cfg := onceetcd.Config{DSN: dsn(proxied...), Timeout: 2 * time.Second}
	s := handles{open(t, cfg), open(t, cfg), open(t, cfg)}
	checkLinear(t, s, disturbances)
}

// disturb lets leaders fail in turn, in one way and the other.
func disturb(t *testing.T, members []*servers.EtcdServer, stop <-chan struct{}) {
	client := raw(t, members...)
	for n := 0; !closed(stop); n++ {
		leader := leaderOf(t, client, members)
		if n%2 == 0 {
			leader.Kill()
			pause(stop, 2*time.Second)
			leader.Restart(t)
		} else {
			leader.Pause()
			pause(stop, 3*time.Second)
			leader.Resume()
		}
		pause(stop, 4*time.Second)
	}
}

func pause(stop <-chan struct{}, d time.Duration) {
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
	groups := max(1, min(*linearCalls/group, 6))
	results := make([]linear.Result, groups)
	began := time.Now()
	for i := range results {
		clients.Go(func() {
			results[i] = linear.Run(s, linear.Options{Calls: *linearCalls / groups, Clients: 6, CallsPerKey: 40, Unknown: -1})
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

// handles are stores on the same cluster, used in turn by what they are asked about.
type handles [3]*onceetcd.Store

func (h handles) of(o once.Owner) *onceetcd.Store { return h[int(o[0])%len(h)] }

func (h handles) Claim(ctx context.Context, c once.Claim) (once.Record, error) {
	return h.of(c.Owner).Claim(ctx, c)
}

func (h handles) Renew(ctx context.Context, k once.Key, o once.Owner, lease time.Duration) error {
	return h.of(o).Renew(ctx, k, o, lease)
}

func (h handles) Complete(
	ctx context.Context, k once.Key, o once.Owner, out once.Outcome, retention time.Duration,
) error {
	return h.of(o).Complete(ctx, k, o, out, retention)
}

func (h handles) Release(ctx context.Context, k once.Key, o once.Owner) error {
	return h.of(o).Release(ctx, k, o)
}

func (h handles) Load(ctx context.Context, k once.Key) (once.Record, error) {
	return h.of(once.NewOwner()).Load(ctx, k)
}
