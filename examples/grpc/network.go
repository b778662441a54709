package main

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
)

// A network is a listener whose connections break when the first answer is about to be sent.
type network struct {
	net.Listener
	cut sync.Once

	mu    sync.Mutex
	conns []net.Conn
}

func (n *network) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

// loseFirstReply is to be the outermost interceptor: everything has happened when it cuts.
func (n *network) loseFirstReply(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	reply, err := handle(ctx, req)
	n.cut.Do(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, conn := range n.conns {
			conn.Close()
		}
	})
	return reply, err
}
