package oncenats_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oncehq/once/store/oncenats"
)

// program is a NATS server; see its package. It is built if that was not done before.
var program = sync.OnceValue(func() string {
	out, err := exec.Command("go", "tool", "-n", "github.com/oncehq/once/store/oncenats/internal/node").Output()
	if err != nil {
		panic(fmt.Sprintf("the server cannot be built: %v", err))
	}
	return strings.TrimSpace(string(out))
})

// A node is a server in a process of its own.
type node struct {
	Name                string
	Dir                 string
	Port, Cluster, HTTP int
	Routes              []string // of all nodes of the cluster; none: there is no cluster
	Sync                bool     // always
	MaxPayload          int32

	mu  sync.Mutex
	cmd *exec.Cmd
}

// startNodes starts a server, or several that are one cluster, and makes the stream.
func startNodes(t testing.TB, size int, sync bool) []*node {
	t.Helper()
	all := make([]*node, size)
	ports := freePorts(t, 3*size)
	var routes []string
	for i := range all {
		all[i] = &node{
			Name: fmt.Sprintf("n%d", i), Dir: t.TempDir(), Sync: sync, MaxPayload: 2 << 20,
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
	cmd := exec.Command(program(), string(config))
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
