package oncenats_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/oncehq/once/store/oncenats"
)

// A natsServer is a server in this process, with a stream for records.
type natsServer struct {
	*server.Server
	options *server.Options
}

// startServer starts a server with JetStream. It is shut down when the test ends.
func startServer(t testing.TB, change ...func(*server.Options)) *natsServer {
	t.Helper()
	o := &server.Options{
		Host:      "127.0.0.1",
		Port:      server.RANDOM_PORT,
		JetStream: true,
		StoreDir:  t.TempDir(),
		NoLog:     true,
		NoSigs:    true,
	}
	for _, f := range change {
		f(o)
	}
	n := &natsServer{options: o}
	n.start(t)
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *natsServer) start(t testing.TB) {
	t.Helper()
	o := *n.options
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready after a minute")
	}
	n.Server = s
	n.options.Port = s.Addr().(*net.TCPAddr).Port // the same again
}

func (n *natsServer) stop() {
	n.Shutdown()
	n.WaitForShutdown()
}

func (n *natsServer) addr() string { return fmt.Sprintf("127.0.0.1:%d", n.options.Port) }
func (n *natsServer) dsn() string  { return "nats://" + n.addr() }

// startMigrated starts a server that has the stream.
func startMigrated(t testing.TB, change ...func(*server.Options)) *natsServer {
	t.Helper()
	n := startServer(t, change...)
	migrate(t, oncenats.Config{DSN: n.dsn()})
	return n
}

// startCluster starts servers that are one cluster, with a stream that all of them keep.
func startCluster(t testing.TB, size int, change ...func(*server.Options)) []*natsServer {
	t.Helper()
	routes := make([]string, size)
	ports := make([]int, size)
	for i := range routes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		routes[i] = "nats://" + l.Addr().String()
		l.Close()
	}
	all := make([]*natsServer, size)
	for i := range all {
		all[i] = startServer(t, append(change, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}
			o.Routes = server.RoutesFromStr(join(routes))
		})...)
	}
	eventually(t, "the cluster has a leader", func() bool {
		for _, n := range all {
			if n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == size {
				return true
			}
		}
		return false
	})
	migrate(t, oncenats.Config{DSN: clusterDSN(all)})
	return all
}
