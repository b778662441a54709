package servers_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/oncehq/once/internal/servers"
)

func TestProxyPassesBothWays(t *testing.T) {
	t.Parallel()
	p := servers.NewProxy(t, servers.Redis(t).Addr)
	c := dial(t, p.Addr)
	c.send(t, "PING\r\n")
	c.expect(t, "+PONG\r\n")
}

func TestDroppedRequestIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	p := servers.NewProxy(t, r.Addr)
	p.DropRequest("SET k")
	c := dial(t, p.Addr)
	c.send(t, "SET k v\r\n")
	c.gone(t)
	if got := r.Command(t, "GET", "k"); got != "" || p.Faults() != 1 {
		t.Errorf("got %q and %d faults, want nothing and one", got, p.Faults())
	}
}

func TestCutReplyIsCarriedOut(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	p := servers.NewProxy(t, r.Addr)
	p.CutReply("SET k")
	c := dial(t, p.Addr)
	c.send(t, "PING\r\n")
	c.expect(t, "+PONG\r\n") // no match, no fault
	c.send(t, "SET k v\r\n")
	c.gone(t)
	if got := r.Command(t, "GET", "k"); got != "v" || p.Faults() != 1 {
		t.Errorf("got %q and %d faults, want v and one", got, p.Faults())
	}
}

func TestLostReplyLeavesTheConnectionOpen(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	p := servers.NewProxy(t, r.Addr)
	p.LoseReply("SET k")
	c := dial(t, p.Addr)
	c.send(t, "SET k v\r\n")
	c.silent(t)
	if got := r.Command(t, "GET", "k"); got != "v" {
		t.Errorf("got %q, want v", got)
	}
}

func TestPausedProxyPassesOnWhenResumed(t *testing.T) {
	t.Parallel()
	p := servers.NewProxy(t, servers.Redis(t).Addr)
	c := dial(t, p.Addr)
	p.Pause()
	c.send(t, "PING\r\n")
	c.silent(t)
	p.Resume()
	c.expect(t, "+PONG\r\n")
}

func TestCutProxyLetsNobodyThroughUntilMended(t *testing.T) {
	t.Parallel()
	p := servers.NewProxy(t, servers.Redis(t).Addr)
	old := dial(t, p.Addr)
	old.send(t, "PING\r\n")
	old.expect(t, "+PONG\r\n")
	p.Cut()
	old.gone(t)
	dial(t, p.Addr).gone(t)
	p.Mend()
	c := dial(t, p.Addr)
	c.send(t, "PING\r\n")
	c.expect(t, "+PONG\r\n")
}

type conn struct{ net.Conn }

func dial(t *testing.T, addr string) conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return conn{c}
}

func (c conn) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func (c conn) expect(t *testing.T, want string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, error %v, want %q", got, err, want)
	}
}

// silent checks that nothing is said for a moment.
func (c conn) silent(t *testing.T) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes, error %v, want silence", n, err)
	}
}

// gone checks that the connection is closed by the other side.
func (c conn) gone(t *testing.T) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Fatalf("got %d bytes, error %v, want a closed connection", n, err)
	}
}
