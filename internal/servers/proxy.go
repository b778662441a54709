package servers

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy passes TCP connections on to a server, and disturbs them on request. Its methods may be
// called by any goroutine at any time. Its zero value is not usable.
type Proxy struct {
	Addr string // where to connect instead of to the server

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex // guards the rest
	change *sync.Cond // paused or closed has changed
	conns  map[*proxied]bool
	asked  int // requests
	fault  fault
	faults int
	delay  time.Duration
	paused bool
	down   bool
	closed bool
}

// A fault is what happens to the next request that contains match.
type fault struct {
	kind  faultKind
	match []byte
}

type faultKind uint8

const (
	none        faultKind = iota
	dropRequest           // cut before the server gets it
	cutReply              // cut when the server has answered
	loseReply             // answers are swallowed, and the connection stays open
)

// proxied is one connection through the proxy.
type proxied struct {
	client, server net.Conn
	fate           faultKind // guarded by the proxy's mutex
}

// NewProxy starts a proxy in front of the address. It is closed when the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("servers: proxy: ", err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listener: l, conns: make(map[*proxied]bool)}
	p.change = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// DropRequest cuts the connection of the next request that contains the text before the server
// gets it: the request is not carried out, and the client cannot know.
func (p *Proxy) DropRequest(text string) { p.arm(dropRequest, text) }

// CutReply cuts the connection of the next request that contains the text when the server has
// answered it: the request is carried out, and the client cannot know.
func (p *Proxy) CutReply(text string) { p.arm(cutReply, text) }

// LoseReply is like CutReply, but the connection stays open, and all further answers on it are
// lost too: the client hears nothing.
func (p *Proxy) LoseReply(text string) { p.arm(loseReply, text) }

func (p *Proxy) arm(kind faultKind, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault{kind, []byte(text)}
}

// Faults returns how often a request met its fault.
func (p *Proxy) Faults() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// Requests returns how many times a client has sent something. Where a client sends nothing more
// before the answer is there, and no request is long, that is how many round trips there were.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// Delay holds every answer back for so long, from now on. Zero ends that.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Pause passes nothing on, in either direction, until [Proxy.Resume].
func (p *Proxy) Pause() { p.set(func() { p.paused = true }) }

// Resume undoes [Proxy.Pause].
func (p *Proxy) Resume() { p.set(func() { p.paused = false }) }

// Cut cuts all connections, and new ones as soon as they are made, until [Proxy.Mend].
func (p *Proxy) Cut() {
	p.set(func() {
		p.down = true
		for c := range p.conns {
			c.close()
		}
	})
}

// Mend undoes [Proxy.Cut].
func (p *Proxy) Mend() { p.set(func() { p.down = false }) }

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.change.Broadcast()
}

func (p *Proxy) close() {
	p.listener.Close()
	p.set(func() {
		p.closed = true
		for c := range p.conns {
			c.close()
		}
	})
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &proxied{client: client, server: server}
		p.mu.Lock()
		if p.down || p.closed {
			c.close()
		} else {
			p.conns[c] = true
			p.wg.Go(func() { p.requests(c) })
			p.wg.Go(func() { p.replies(c) })
		}
		p.mu.Unlock()
	}
}

func (c *proxied) close() {
	c.client.Close()
	c.server.Close()
}

// A verdict is what is done with what was read from a connection.
type verdict uint8

const (
	forward verdict = iota
	swallow
	cut
)

// requests passes on what the client says.
func (p *Proxy) requests(c *proxied) {
	p.pass(c, c.client, c.server, func(chunk []byte) verdict {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked++
		if p.fault.kind == none || !bytes.Contains(chunk, p.fault.match) {
			return forward
		}
		c.fate, p.fault = p.fault.kind, fault{}
		p.faults++
		if c.fate == dropRequest {
			return cut
		}
		return forward
	})
}

// replies passes on what the server says.
func (p *Proxy) replies(c *proxied) {
	p.pass(c, c.server, c.client, func([]byte) verdict {
		p.mu.Lock()
		fate, delay := c.fate, p.delay
		p.mu.Unlock()
		time.Sleep(delay)
		switch fate {
		case cutReply:
			return cut
		case loseReply:
			return swallow
		}
		return forward
	})
}

// pass copies chunk by chunk as judge says, and closes both connections in the end.
func (p *Proxy) pass(c *proxied, from io.Reader, to io.Writer, judge func([]byte) verdict) {
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.await()
			switch judge(buf[:n]) {
			case cut:
				return
			case forward:
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// await blocks while the proxy is paused.
func (p *Proxy) await() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.paused && !p.closed {
		p.change.Wait()
	}
}
