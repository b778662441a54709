//go:build linux

package partition

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// A Side is one of two.
type Side int

const (
	A Side = iota
	B
)

// Addr returns the address of the side.
func (s Side) Addr() string { return fmt.Sprintf("10.231.7.%d", 1+s) }

// A Network has two sides.
type Network struct {
	names [2]string // of the namespaces
	cable string    // side A's cable where it is plugged in, on side B
}

// The devices: A's own one is the other end of the cable, B's own one is the switch.
const card, bridge = "once-card", "once-switch"

// New makes a network, which is gone when the test ends. A test that cannot have one is skipped.
func New(t testing.TB) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("partitions are not tested: only root may make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("partitions are not tested: the program ip (iproute2) is missing")
	}
	id := fmt.Sprintf("once-%d-%d", os.Getpid(), rand.N(1<<20))
	n := &Network{names: [2]string{id + "-a", id + "-b"}, cable: "once-cable"}
	for _, name := range n.names {
		if err := ip("netns", "add", name); err != nil {
			t.Skip("partitions are not tested: network namespaces are not permitted here: ", err)
		}
		t.Cleanup(func() { ip("netns", "delete", name) })
	}
	a, b := n.names[A], n.names[B]
	for _, args := range [][]string{
		{"-n", a, "link", "set", "lo", "up"},
		{"-n", b, "link", "set", "lo", "up"},
		// With an address of its own: else it has the cable's, and frames that come out of the cable
		// when that is not plugged in would be taken for the side's.
		{"-n", b, "link", "add", bridge, "address", "02:00:00:00:00:01", "type", "bridge"},
		{"-n", b, "link", "add", n.cable, "type", "veth", "peer", "name", card, "netns", a},
		{"-n", a, "address", "add", A.Addr() + "/24", "dev", card},
		{"-n", b, "address", "add", B.Addr() + "/24", "dev", bridge},
		{"-n", a, "link", "set", card, "up"},
		{"-n", b, "link", "set", n.cable, "up"},
		{"-n", b, "link", "set", bridge, "up"},
	} {
		if err := ip(args...); err != nil {
			t.Skip("partitions are not tested: a virtual network is not possible here: ", err)
		}
	}
	n.Heal(t)
	return n
}

// Cut parts the sides: from now on nothing that one sends reaches the other.
func (n *Network) Cut(t testing.TB) {
	t.Helper()
	if err := ip("-n", n.names[B], "link", "set", n.cable, "nomaster"); err != nil {
		t.Fatal(err)
	}
}

// Heal undoes [Network.Cut].
func (n *Network) Heal(t testing.TB) {
	t.Helper()
	if err := ip("-n", n.names[B], "link", "set", n.cable, "master", bridge); err != nil {
		t.Fatal(err)
	}
}

// Command returns a command that runs on a side.
func (n *Network) Command(s Side, name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.names[s], name}, args...)...)
}

// Start runs a command until the test ends, and kills it then.
func Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		// The process dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, bytes.TrimSpace(out))
	}
	return nil
}
