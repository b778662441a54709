package oncenats_test

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A gate is a proxy that counts the messages that a client publishes, and holds back all that the
// server says until a number of them has passed: what the client sends then it sends without
// having heard an answer. It can also hold back some of the messages.
type gate struct {
	addr string

	mu     sync.Mutex // guards the rest
	opened *sync.Cond
	until  int      // how many messages must have passed before the server is heard
	passed int      // messages, since expect
	hold   string   // messages are held back whose first line contains this; empty: none
	held   []func() // send what was held back
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	g := &gate{addr: l.Addr().String()}
	g.opened = sync.NewCond(&g.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			both := func() { client.Close(); server.Close() }
			wg.Go(func() { defer both(); g.requests(client, server) })
			wg.Go(func() { defer both(); g.answers(server, client) })
		}
	})
	t.Cleanup(func() {
		g.expect(0)
		l.Close()
		wg.Wait()
	})
	return g
}

// expect counts anew, and holds the server's words back until n messages have passed.
func (g *gate) expect(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until, g.passed = n, 0
	g.opened.Broadcast()
}

// holdBack keeps messages whose subject contains the text from the server, until letGo.
func (g *gate) holdBack(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = text
}

func (g *gate) letGo() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, send := range g.held {
		send()
	}
	g.hold, g.held = "", nil
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed
}

// requests passes on what the client says, in the words of the protocol of NATS clients.
func (g *gate) requests(client io.Reader, server io.Writer) {
	r := bufio.NewReader(client)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		message := len(words) > 1 && (words[0] == "PUB" || words[0] == "HPUB")
		var payload []byte
		if message {
			n, _ := strconv.Atoi(words[len(words)-1])
			payload = make([]byte, n+len("\r\n"))
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
		}
		if err := g.request(server, line, payload, message); err != nil {
			return
		}
	}
}

func (g *gate) request(server io.Writer, line string, payload []byte, message bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	text := append([]byte(line), payload...)
	if message {
		g.passed++
		g.opened.Broadcast()
		if g.hold != "" && strings.Contains(line, g.hold) {
			g.held = append(g.held, func() { server.Write(text) })
			return nil
		}
	}
	_, err := server.Write(text)
	return err
}

func (g *gate) answers(server io.Reader, client io.Writer) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		g.mu.Lock()
		for g.passed < g.until {
			g.opened.Wait()
		}
		g.mu.Unlock()
		if n > 0 {
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
