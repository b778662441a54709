package onceetcd_test

import (
	"context"
	"flag"
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
	linear.CheckGroups(t, s, linear.Options{Calls: *linearCalls, Clients: 6, CallsPerKey: 40, Unknown: -1}, 6, disturbances...)
}

// disturb lets leaders fail in turn, in one way and the other.
func disturb(t *testing.T, members []*servers.EtcdServer, stop <-chan struct{}) {
	client := raw(t, members...)
	for n := 0; !closed(stop); n++ {
		leader := leaderOf(t, client, members)
		if n%2 == 0 {
			leader.Kill()
			linear.Sleep(stop, 2*time.Second)
			leader.Restart(t)
		} else {
			leader.Pause()
			linear.Sleep(stop, 3*time.Second)
			leader.Resume()
		}
		linear.Sleep(stop, 4*time.Second)
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
