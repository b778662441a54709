package servers

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// An EtcdServer is an etcd process: a member of a cluster, perhaps the only one.
type EtcdServer struct {
	*Process
	Addr    string // host:port for clients
	TLSAddr string // the same with TLS; only of EtcdTLS
	CA      string // path of the PEM file with the certificate that signs the server's
}

// An EtcdProgram returns the command that runs etcd with the arguments. There is no installed
// program that is new enough: etcd is a Go package, and a test's own binary can be it.
type EtcdProgram func(args ...string) *exec.Cmd

// etcdDefaults are the flags of every server, before the test's own.
var etcdDefaults = []string{"--logger=zap", "--log-level=error", "--initial-cluster-state=new"}

// Etcd starts a cluster of one member. Its leases can be as short as a second.
func Etcd(t testing.TB, etcd EtcdProgram, flags ...string) *EtcdServer {
	t.Helper()
	flags = append([]string{"--heartbeat-interval=60", "--election-timeout=600"}, flags...)
	return startEtcd(t, etcd, 1, flags)[0]
}

// EtcdCluster starts a cluster of three members.
func EtcdCluster(t testing.TB, etcd EtcdProgram, flags ...string) []*EtcdServer {
	t.Helper()
	return startEtcd(t, etcd, 3, flags)
}

// EtcdTLS starts a cluster of one member that takes encrypted connections too.
func EtcdTLS(t testing.TB, etcd EtcdProgram, flags ...string) *EtcdServer {
	t.Helper()
	cert, key := selfSigned(t, t.TempDir())
	addr := local(freePort(t))
	flags = append([]string{"--cert-file=" + cert, "--key-file=" + key, "tls=" + addr}, flags...)
	s := startEtcd(t, etcd, 1, flags)[0]
	s.TLSAddr, s.CA = addr, cert
	return s
}

func startEtcd(t testing.TB, etcd EtcdProgram, members int, flags []string) []*EtcdServer {
	t.Helper()
	const tries = 5 // somebody else may take a port before a server does
	for try := 1; ; try++ {
		all, err := tryEtcd(t, etcd, members, flags)
		if err == nil {
			return all
		}
		for _, s := range all {
			s.Kill()
		}
		if try == tries {
			t.Fatal(err)
		}
	}
}

func tryEtcd(t testing.TB, etcd EtcdProgram, members int, flags []string) ([]*EtcdServer, error) {
	t.Helper()
	all, peers := make([]*EtcdServer, members), make([]string, members)
	var initial []string
	for i := range all {
		port := freePort(t, 1)
		all[i] = &EtcdServer{Addr: local(port)}
		peers[i] = "http://" + local(port+1)
		initial = append(initial, fmt.Sprintf("member%d=%s", i, peers[i]))
	}
	for i, s := range all {
		dir := t.TempDir()
		clients := "http://" + s.Addr
		args := append([]string{fmt.Sprintf("--name=member%d", i), "--data-dir=" + dir}, etcdDefaults...)
		for _, flag := range flags {
			if addr, found := strings.CutPrefix(flag, "tls="); found {
				clients += ",https://" + addr
			} else {
				args = append(args, flag)
			}
		}
		args = append(args,
			"--listen-client-urls="+clients, "--advertise-client-urls=http://"+s.Addr,
			"--listen-peer-urls="+peers[i], "--initial-advertise-peer-urls="+peers[i],
			"--initial-cluster="+strings.Join(initial, ","))
		s.Process = newProcess(t, "etcd-"+s.Addr, dir, func() *exec.Cmd { return etcd(args...) })
	}
	errs := make([]error, members)
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = s.start(s.ready) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// ready reports whether the server has a leader and answers.
func (s *EtcdServer) ready() error {
	client := http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + s.Addr + "/health")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("its health: %s", text)
	}
	return err
}

// Restart starts the server again after [Process.Kill] or [Process.Stop], with the same flags and
// files, on the same port.
func (s *EtcdServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(s.ready); err != nil {
		t.Fatal(err)
	}
}
