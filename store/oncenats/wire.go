package oncenats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/oncehq/once"
)

// A wire carries requests and answers over one connection. All answers come on one subscription.
// Requests that are sent one after the other travel together: a verb that sends two, and only then
// looks for the answers, takes one round trip.
type wire struct {
	nc    *nats.Conn
	inbox string // what the subjects for answers begin with

	mu     sync.Mutex // guards the rest
	last   uint64     // number of the last call
	calls  map[uint64]*call
	up     bool
	change chan struct{} // closed, and replaced, when up or closed changes
	closed bool
}

// A call is a request that was sent.
type call struct {
	subject string
	reply   *nats.Msg // valid when done is closed; nil: there was none, see err
	err     error
	done    chan struct{}
	number  uint64
	then    func(*nats.Msg) // if set, called with the reply before done is closed
}

var (
	errNoAnswer     = errors.New("oncenats: no answer in time: the servers are down, or the stream has no leader")
	errDisconnected = errors.New("oncenats: the connection was lost before the answer")
	errNobody       = errors.New("oncenats: no server takes that: JetStream is not enabled for this account, " +
		"the stream does not exist (run once migrate), or has no leader at the moment")
)

func newWire(ctx context.Context, t Target, cfg Config) (*wire, error) {
	w := &wire{
		inbox:  nats.NewInbox() + ".",
		calls:  make(map[uint64]*call),
		change: make(chan struct{}),
		up:     true,
	}
	nc, err := dial(ctx, t, cfg, w)
	if err != nil {
		return nil, err
	}
	w.nc = nc
	sub, err := nc.Subscribe(w.inbox+"*", w.answer)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // there are no more answers than callers
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("oncenats: %w", err)
	}
	return w, nil
}

// send sends a request. If there is no connection the call has failed.
func (w *wire) send(m *nats.Msg, then func(*nats.Msg)) *call {
	c := &call{subject: m.Subject, done: make(chan struct{}), then: then}
	w.mu.Lock()
	w.last++
	c.number = w.last
	w.calls[c.number] = c
	w.mu.Unlock()
	m.Reply = w.inbox + strconv.FormatUint(c.number, 36)
	if err := w.nc.PublishMsg(m); err != nil {
		switch {
		case errors.Is(err, nats.ErrReconnectBufExceeded):
			err = errDisconnected
		case errors.Is(err, nats.ErrConnectionClosed):
			err = once.ErrClosed
		}
		w.end(c, nil, err)
	}
	return c
}

// ready returns when there is a connection. The client knows that it has none a little before it says so,
// and refuses to send then; that it has one again it says later still.
func (w *wire) ready(ctx context.Context) error {
	for {
		w.mu.Lock()
		up, closed, change := w.up && w.nc.IsConnected(), w.closed, w.change
		w.mu.Unlock()
		switch {
		case closed:
			return once.ErrClosed
		case ctx.Err() != nil:
			return ended(ctx)
		case up:
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
}

// wait returns the answer to the call.
func (w *wire) wait(ctx context.Context, c *call) (*nats.Msg, error) {
	select {
	case <-c.done:
	case <-ctx.Done():
		w.end(c, nil, ended(ctx))
		<-c.done
	}
	if c.err == nil && c.reply.Header.Get("Status") == "503" && len(c.reply.Data) == 0 {
		return nil, errNobody
	}
	return c.reply, c.err
}

// forget ends a call whose answer nobody wants anymore.
func (w *wire) forget(c *call) { w.end(c, nil, errNoAnswer) }

// ended says why the context is done.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); cause == errNoAnswer {
		return errNoAnswer
	}
	return fmt.Errorf("oncenats: no answer in time: %w", ctx.Err())
}

func (w *wire) answer(m *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, w.inbox), 36, 64)
	if err != nil {
		return
	}
	w.mu.Lock()
	c := w.calls[number]
	w.mu.Unlock()
	if c != nil {
		w.end(c, m, nil)
	}
}

// end ends the call, if it has not ended yet.
func (w *wire) end(c *call, reply *nats.Msg, err error) {
	w.mu.Lock()
	_, open := w.calls[c.number]
	delete(w.calls, c.number)
	w.mu.Unlock()
	if !open {
		return
	}
	c.reply, c.err = reply, err
	if reply != nil && c.then != nil {
		c.then(reply)
	}
	close(c.done)
}

// endAll ends the calls that are selected.
func (w *wire) endAll(err error, selected func(*call) bool) {
	w.mu.Lock()
	var all []*call
	for number, c := range w.calls {
		if selected(c) {
			delete(w.calls, number)
			all = append(all, c)
		}
	}
	w.mu.Unlock()
	for _, c := range all {
		c.err = err
		close(c.done)
	}
}

// lost is called when the connection is lost: answers will not come.
func (w *wire) lost() {
	w.set(func() { w.up = false })
	w.endAll(errDisconnected, func(*call) bool { return true })
}

func (w *wire) found() { w.set(func() { w.up = true }) }

func (w *wire) set(what func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what()
	close(w.change)
	w.change = make(chan struct{})
}

// refused is called when the server complains, which it does not do in an answer. A subject that
// the user may not send to is told in the text.
func (w *wire) refused(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	text := strings.ToLower(err.Error())
	w.endAll(fmt.Errorf("oncenats: the user in the DSN lacks a permission; see the package's documentation: %w", err),
		func(c *call) bool { return strings.Contains(text, `"`+strings.ToLower(c.subject)+`"`) })
}

func (w *wire) close() {
	w.set(func() { w.closed = true })
	w.nc.Close()
	w.endAll(once.ErrClosed, func(*call) bool { return true })
}

// changed returns a channel that is closed when the connection is lost, found or closed.
func (w *wire) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}
