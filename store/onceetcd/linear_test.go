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

var calls = flag.Int("calls", 1200, "how many verbs are carried out to check that they are atomic")

// Clients of three handles use the same keys at the same time, while members are killed and
// started again. What they saw is explained by one order of their verbs.
func TestVerbsAreLinearizableWhileLeadersAreKilled(t *testing.T) {
	t.Parallel()
	members := servers.EtcdCluster(t, etcd)
	cfg := onceetcd.Config{DSN: dsn(members...), Timeout: 2 * time.Second}
	s := handles{open(t, cfg), open(t, cfg), open(t, cfg)}
	linear.Check(t, s, linear.Options{
		Calls:       *calls,
		Clients:     6,
		CallsPerKey: 40,
		Unknown:     20,
		Disturb: func(stop <-chan struct{}) {
			client := raw(t, members...)
			for !closed(stop) {
				leader := leaderOf(t, client, members)
				leader.Kill()
				pause(stop, 2*time.Second)
				leader.Restart(t)
				pause(stop, 4*time.Second)
			}
		},
	})
}

func pause(stop <-chan struct{}, d time.Duration) {
	select {
	case <-stop:
	case <-time.After(d):
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
