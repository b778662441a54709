package onceredis_test

import (
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/onceredis"
)

// sentinel shows that the contract holds behind sentinels, and when every claim and outcome waits for the replicas.
func sentinel(t *testing.T) {
	set := servers.RedisSentinel(t)
	cfg := onceredis.Config{
		DSN:                "redis+sentinel://" + set.Addrs() + "/" + set.Name,
		MinReplicas:        2,
		MinReplicasTimeout: 20 * time.Second,
	}
	s := open(t, cfg)
	oncetest.TestStore(t, shared(s, open(t, cfg)))

	set.Master.Command(t, "CONFIG", "SET", "appendfsync", "always")
	for _, cfg := range []onceredis.Config{{DSN: dsn(set.Master)}, {DSN: dsn(set.Master), MinReplicas: 2}, {DSN: cfg.DSN}, cfg} {
		if g := open(t, cfg).Guarantees(); g.Crash != once.Survives || g.Failover != once.Lost {
			t.Errorf("MinReplicas %d of %s: the guarantees are %+v", cfg.MinReplicas, cfg.DSN, g)
		}
	}
}
