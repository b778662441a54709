package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports that are handed out lie below those that systems give to outgoing connections (from 32768
// on Linux, 49152 elsewhere). A port from that range could be taken by a client while its server is
// being restarted; and a client that dials it meanwhile could even be connected to itself.
const firstPort, lastPort = 10_000, 22_000

// freePort returns a port of 127.0.0.1 on which nobody listens, nor on those at the offsets from
// it. Somebody may do so a moment later: who starts a server there must try again.
func freePort(t testing.TB, offsets ...int) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.N(lastPort-firstPort)
		if unused(port, append(offsets, 0)) {
			return port
		}
	}
	t.Fatal("servers: no free port found")
	return 0
}

func unused(port int, offsets []int) bool {
	for _, o := range offsets {
		l, err := net.Listen("tcp", local(port+o))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
