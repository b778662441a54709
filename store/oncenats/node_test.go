package oncenats_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/oncehq/once/store/oncenats"
)

// The test binary, started again with this in its environment, is a NATS server in a process of its
// own, which can be killed and paused.
const nodeEnv = "ONCENATS_TEST_NODE"

// A node is such a server.
type node struct {
	Name                string
	Dir                 string
	Port, Cluster, HTTP int
	Routes              []string // of all nodes of the cluster; none: there is no cluster
	Sync                bool     // always

	mu  sync.Mutex
	cmd *exec.Cmd
}

// serve is what the process of a node does until its parent ends.
func serve(config string) error {
	var n node
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, HTTPHost: "127.0.0.1", HTTPPort: n.HTTP,
		JetStream: true, StoreDir: n.Dir, SyncAlways: n.Sync, NoSigs: true,
		LogFile: filepath.Join(n.Dir, "log"),
	}
	if len(n.Routes) > 0 {
		// Clients use the addresses that they were given, of proxies perhaps, and no others.
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Cluster, NoAdvertise: true}
		for _, r := range n.Routes {
			o.Routes = append(o.Routes, server.RoutesFromStr(r)...)
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("not ready after a minute")
	}
	io.Copy(io.Discard, os.Stdin) // until the parent ends, however it does
	s.Shutdown()
	return nil
}

// startNodes starts a server, or several that are one cluster, and makes the stream.
func startNodes(t testing.TB, size int, sync bool) []*node {
	t.Helper()
	all := make([]*node, size)
	ports := freePorts(t, 3*size)
	var routes []string
	for i := range all {
		all[i] = &node{
			Name: fmt.Sprintf("n%d", i), Dir: t.TempDir(), Sync: sync,
			Port: ports[3*i], Cluster: ports[3*i+1], HTTP: ports[3*i+2],
		}
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(all[i].Cluster))
	}
	for _, n := range all {
		if size > 1 {
			n.Routes = routes
		}
		n.start(t)
		t.Cleanup(n.kill)
	}
	migrate(t, oncenats.Config{DSN: nodesDSN(all), Replicas: size})
	return all
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ok(t, err)
		defer l.Close() // all at the end, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func nodesDSN(all []*node) string {
	var addrs []string
	for _, n := range all {
		addrs = append(addrs, n.addr())
	}
	return "nats://" + join(addrs)
}

func (n *node) addr() string { return "127.0.0.1:" + strconv.Itoa(n.Port) }

// start starts the process and returns when the server takes connections.
func (n *node) start(t testing.TB) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	config, err := json.Marshal(n)
	ok(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	_, err = cmd.StdinPipe()
	ok(t, err)
	ok(t, cmd.Start())
	n.cmd = cmd
	eventually(t, "the server takes connections", func() bool {
		c, err := net.Dial("tcp", n.addr())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill ends the process at once, as kill -9 does, and returns when it is gone.
func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd.Process.Kill()
	n.cmd.Wait()
}

func (n *node) pause()  { n.cmd.Process.Signal(syscall.SIGSTOP) }
func (n *node) resume() { n.cmd.Process.Signal(syscall.SIGCONT) }

// leader returns the node that leads the stream, or nil if there is none at the moment.
func leader(t testing.TB, all []*node) *node {
	for _, n := range all {
		nc, err := nats.Connect("nats://" + n.addr())
		if err != nil {
			continue
		}
		defer nc.Close()
		m, err := nc.Request("$JS.API.STREAM.INFO."+oncenats.DefaultStream, nil, time.Second)
		if err != nil {
			continue
		}
		var info struct {
			Cluster struct {
				Leader string `json:"leader"`
			} `json:"cluster"`
		}
		ok(t, json.Unmarshal(m.Data, &info))
		for _, n := range all {
			if n.Name == info.Cluster.Leader {
				return n
			}
		}
	}
	return nil
}
