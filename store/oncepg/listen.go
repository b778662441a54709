package oncepg

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	firstRetry = 100 * time.Millisecond // before connecting again; doubles
	lastRetry  = 5 * time.Second
	quiet      = 30 * time.Second // after so long without a notification the connection is tested
	testTime   = 5 * time.Second  // how long that may take
)

// waits are the callers in this process that wait for operations, and the connection by which
// they are told.
type waits struct {
	dial    dial // nil: there is no such connection
	channel string

	mu        sync.Mutex // guards the rest
	topics    map[string]*wait
	listening bool
	stop      context.CancelFunc // nil until somebody waits
	stopped   chan struct{}
	closed    bool
}

// A wait is for one topic. Its callers look at the record again when changed is closed.
type wait struct {
	topic   string
	callers int
	changed chan struct{}
}

func newWaits(dial dial, channel string) *waits {
	return &waits{dial: dial, channel: channel, topics: make(map[string]*wait)}
}

// join adds a caller to those who wait for the topic, and reports whether they will be told:
// whoever looks at the record after that misses nothing. The caller must leave again.
func (ws *waits) join(topic string) (*wait, bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.stop == nil && ws.dial != nil && !ws.closed {
		ctx, stop := context.WithCancel(context.Background())
		ws.stop, ws.stopped = stop, make(chan struct{})
		go ws.listen(ctx)
	}
	w := ws.topics[topic]
	if w == nil {
		w = &wait{topic: topic, changed: make(chan struct{})}
		if ws.closed {
			close(w.changed)
		} else {
			ws.topics[topic] = w
		}
	}
	w.callers++
	return w, ws.listening
}

func (ws *waits) leave(w *wait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.callers--; w.callers == 0 && ws.topics[w.topic] == w {
		delete(ws.topics, w.topic)
	}
}

// await returns when something may have changed, or after the nap.
func (w *wait) await(ctx context.Context, nap time.Duration) error {
	t := time.NewTimer(nap)
	defer t.Stop()
	select {
	case <-w.changed:
		return nil
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell wakes those who wait for the topic.
func (ws *waits) tell(topic string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w := ws.topics[topic]; w != nil {
		close(w.changed)
		delete(ws.topics, topic)
	}
}

// tellAll wakes everybody, since what they will be told has changed.
func (ws *waits) tellAll(listening bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.listening = listening
	for topic, w := range ws.topics {
		close(w.changed)
		delete(ws.topics, topic)
	}
}

// listen keeps a connection on which notifications arrive, until ctx is done.
func (ws *waits) listen(ctx context.Context) {
	defer close(ws.stopped)
	for retry := firstRetry; ctx.Err() == nil; retry = min(2*retry, lastRetry) {
		if ws.connected(ctx) {
			ws.tellAll(false) // until the next connection they look for themselves
			retry = firstRetry
		}
		t := time.NewTimer(retry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// connected passes on what arrives on one connection, until that fails. It reports whether it
// was any good at first.
func (ws *waits) connected(ctx context.Context) bool {
	dialing, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	conn, err := ws.dial(dialing)
	if err != nil {
		return false
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(dialing, "LISTEN "+pgx.Identifier{ws.channel}.Sanitize()); err != nil {
		return false
	}
	ws.tellAll(true) // what changed before now, nobody was told
	for {
		hearing, cancel := context.WithTimeout(ctx, quiet)
		n, err := conn.WaitForNotification(hearing)
		cancel()
		switch {
		case err == nil:
			ws.tell(n.Payload)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || !answers(ctx, conn):
			return true
		}
	}
}

// answers reports whether the connection still leads to the server.
func answers(ctx context.Context, conn *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	return conn.Ping(ctx) == nil
}

// close ends the connection, and the waits with once.ErrClosed.
func (ws *waits) close() {
	ws.mu.Lock()
	ws.closed = true
	stop := ws.stop
	ws.mu.Unlock()
	ws.tellAll(false)
	if stop != nil {
		stop()
		<-ws.stopped
	}
}
