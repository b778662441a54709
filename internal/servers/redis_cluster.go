package servers

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A RedisClusterSet is a Redis Cluster of three masters with a replica each.
type RedisClusterSet struct {
	Masters  [3]*RedisServer
	Replicas [3]*RedisServer // of the master at the same place, until the first failover
}

const (
	clusterSlots = 16384
	busOffset    = 10_000 // of the port that the nodes use among themselves; fixed before Redis 7
)

// RedisCluster starts a cluster. A master that does not answer for a second is replaced by
// its replica.
func RedisCluster(t testing.TB, settings ...string) *RedisClusterSet {
	t.Helper()
	c := new(RedisClusterSet)
	for i := range c.Masters {
		c.Masters[i] = newClusterNode(t, settings)
		c.Replicas[i] = newClusterNode(t, settings)
	}
	nodes := c.Nodes()
	for i, n := range nodes {
		n.Command(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for i, m := range c.Masters {
		m.Command(t, append([]string{"CLUSTER", "ADDSLOTS"}, slotsOf(i)...)...)
	}
	for _, n := range nodes[1:] {
		nodes[0].Command(t, "CLUSTER", "MEET", "127.0.0.1", redisPort(n.Addr))
	}
	for _, n := range nodes {
		until(t, "all nodes of a cluster know each other", func() error { return n.knows(len(nodes)) })
	}
	for i, r := range c.Replicas {
		id := c.Masters[i].Command(t, "CLUSTER", "MYID")
		until(t, "a node becomes a replica", func() error {
			_, err := redisCommand(r.Addr, "CLUSTER", "REPLICATE", id)
			return err
		})
	}
	c.AwaitReplicas(t)
	return c
}

func newClusterNode(t testing.TB, settings []string) *RedisServer {
	t.Helper()
	settings = append([]string{
		"cluster-enabled yes", "cluster-node-timeout 1000", "cluster-replica-validity-factor 0",
	}, settings...)
	const tries = 5
	for try := 1; ; try++ {
		s := newRedis(t, freePort(t, busOffset), settings...)
		err := s.start(s.ready)
		if err == nil {
			return s
		}
		if try == tries {
			t.Fatal(err)
		}
	}
}

// slotsOf returns the numbers of the slots of the i-th of three masters.
func slotsOf(i int) []string {
	var slots []string
	for s := i * clusterSlots / 3; s < (i+1)*clusterSlots/3; s++ {
		slots = append(slots, strconv.Itoa(s))
	}
	return slots
}

// knows checks that the node has shaken hands with all n nodes of its cluster.
func (s *RedisServer) knows(n int) error {
	list, err := redisCommand(s.Addr, "CLUSTER", "NODES")
	if err != nil {
		return err
	}
	if known := strings.Count(list, " connected"); known != n || strings.Contains(list, "handshake") {
		return fmt.Errorf("knows %d of %d nodes:\n%s", known, n, list)
	}
	return nil
}

// Nodes returns all servers, the masters first.
func (c *RedisClusterSet) Nodes() []*RedisServer {
	return append(c.Masters[:], c.Replicas[:]...)
}

// Addrs returns the addresses of all servers, separated by commas.
func (c *RedisClusterSet) Addrs() string { return addrs(c.Nodes()) }

// AwaitReplicas returns when the cluster is whole: every slot is served and every replica has
// caught up with its master.
func (c *RedisClusterSet) AwaitReplicas(t testing.TB) {
	t.Helper()
	for _, n := range c.Nodes() {
		until(t, "a node of a cluster is well", func() error { return n.well() })
	}
}

// well checks that the node's cluster serves all slots, and that the node is a master with
// a replica, or a replica that is connected to its master.
func (s *RedisServer) well() error {
	cluster, err := redisCommand(s.Addr, "CLUSTER", "INFO")
	if err != nil {
		return err
	}
	role, err := redisCommand(s.Addr, "INFO", "replication")
	if err != nil {
		return err
	}
	whole := strings.Contains(cluster, "cluster_state:ok") && strings.Contains(cluster, "cluster_size:3")
	joined := strings.Contains(role, "master_link_status:up") || strings.Contains(role, ",state=online,")
	if !whole || !joined {
		return fmt.Errorf("%s\n%s", cluster, role)
	}
	return nil
}

func addrs(servers []*RedisServer) string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr
	}
	return strings.Join(list, ",")
}
