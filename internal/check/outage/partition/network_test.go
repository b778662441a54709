//go:build linux

package partition

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestCutPartsTheSides sends datagrams in both directions: none that is sent while the sides are
// parted may arrive, then or later.
func TestCutPartsTheSides(t *testing.T) {
	t.Parallel()
	n := New(t)
	for _, to := range []Side{A, B} {
		post := newPost(t, n, to)
		post.sendUntilReceived("at first")
		n.Cut(t)
		for range 5 {
			post.send("parted")
		}
		n.Heal(t)
		post.sendUntilReceived("healed")
	}
}

// A post carries datagrams to a side from the other one.
type post struct {
	*testing.T
	in   io.Writer
	sent *bufio.Scanner
	out  chan string
}

func newPost(t *testing.T, n *Network, to Side) *post {
	t.Helper()
	process := func(side Side, act string) *exec.Cmd {
		cmd := n.Command(side, os.Args[0])
		cmd.Env = append(os.Environ(), actAs+"="+act, "ONCE_PARTITION_DSN="+to.Addr()+":7")
		cmd.Stderr = os.Stderr
		return cmd
	}
	receive, send := process(to, "receive"), process(1-to, "send")
	out, err := receive.StdoutPipe()
	ok(t, err)
	in, err := send.StdinPipe()
	ok(t, err)
	sent, err := send.StdoutPipe()
	ok(t, err)
	Start(t, receive)
	Start(t, send)
	p := &post{t, in, bufio.NewScanner(sent), make(chan string, 1<<16)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.out <- lines.Text()
		}
	}()
	return p
}

func (p *post) send(text string) {
	p.Helper()
	_, err := fmt.Fprintln(p.in, text)
	ok(p.T, err)
	if !p.sent.Scan() {
		p.Fatal("the sending process ended")
	}
}

// sendUntilReceived sends the text until it comes in. Whatever else does was sent before that.
func (p *post) sendUntilReceived(text string) {
	p.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		p.send(text)
		select {
		case got := <-p.out:
			switch got {
			case text:
				return
			case "parted":
				p.Fatal("a datagram arrived that was sent while the sides were parted")
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.Fatalf("not received in a minute: %s", text)
}

// receive prints the datagrams that come to the address.
func receive(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	for buf := make([]byte, 100); err == nil; {
		var n int
		if n, _, err = c.ReadFrom(buf); err == nil {
			fmt.Println(string(buf[:n]))
		}
	}
	return err
}

// send sends each line of its input to the address, and then says so. That nobody listens yet is no
// matter.
func send(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		c.Write(lines.Bytes())
		fmt.Println("sent")
	}
	return nil
}

func TestProcessesEndWithTheTest(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	t.Run("starts one", func(t *testing.T) { Start(t, cmd) })
	if cmd.ProcessState == nil {
		t.Error("the process still runs")
	}
}
