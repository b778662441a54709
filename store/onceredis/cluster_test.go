package onceredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncetest"
	"github.com/oncehq/once/store/onceredis"
)

func cluster(t *testing.T) {
	c := servers.RedisCluster(t)
	cfg := onceredis.Config{DSN: "redis+cluster://" + c.Addrs()}
	s, other := open(t, cfg), open(t, cfg)
	t.Run("list has the records of all masters", func(t *testing.T) { listOfCluster(t, c, s) })
	t.Run("wait is told within the shard", func(t *testing.T) { waitInCluster(t, c, s, other) })
	t.Run("contract", func(t *testing.T) { oncetest.TestStore(t, shared(s, other)) })
	if g := s.Guarantees(); g.Failover != once.Lost {
		t.Errorf("the guarantees of a cluster are %+v", g)
	}
}

// shared are options of the kit for servers that are tested a little less, since they are the
// same behind another client.
func shared(s, other once.Store) oncetest.Options {
	return oncetest.Options{
		Open:      func(t *testing.T) once.Store { return s },
		Second:    func(t *testing.T, _ once.Store) once.Store { return other },
		Histories: 1,
		Steps:     100,
		Claimants: 16,
	}
}

func waitInCluster(t *testing.T, cluster *servers.RedisClusterSet, s, other *onceredis.Store) {
	const n = 10 // keys in several shards
	for range n {
		c := newClaim()
		wins(t, s, c)
		ended := make(chan error, 1)
		go func() { ended <- s.Wait(t.Context(), c.Key, c.Owner) }()
		eventually(t, "a node has the subscription and the mark", func() bool { return waitedFor(t, cluster, c) })
		ok(t, other.Complete(t.Context(), c.Key, c.Owner, result, time.Hour))
		ok(t, <-ended)
	}
	published := 0
	for _, m := range cluster.Masters {
		published += m.Calls(t)["spublish"]
	}
	if published != n {
		t.Errorf("%d messages were published within the shards, want %d", published, n)
	}
}

func waitedFor(t *testing.T, cluster *servers.RedisClusterSet, c once.Claim) bool {
	for _, m := range cluster.Masters {
		if m.Command(t, "PUBSUB", "SHARDCHANNELS", keyName(c.Key)) != "" {
			return m.Command(t, "GETRANGE", keyName(c.Key), "1", "1") == "1"
		}
	}
	return false
}

func listOfCluster(t *testing.T, c *servers.RedisClusterSet, s *onceredis.Store) {
	const n = 300
	want := map[once.Key]bool{}
	for i, res := range s.ClaimBatch(t.Context(), batch(n, func(i int) string { return fmt.Sprintf("{same}%d", i) })) {
		ok(t, res.Err)
		want[res.Record.Key] = true
		if i%2 == 0 {
			ok(t, s.Complete(t.Context(), res.Record.Key, res.Record.Owner, result, time.Hour))
		}
	}
	for rec, err := range s.List(t.Context(), listAll) {
		ok(t, err)
		delete(want, rec.Key)
	}
	if len(want) > 0 {
		t.Errorf("%d of %d records were not listed", len(want), n)
	}
	// Ids with braces are spread like all others.
	for i, m := range c.Masters {
		if size := m.Command(t, "DBSIZE"); size == "0" {
			t.Errorf("master %d has none of %d records", i, n)
		}
	}
}
