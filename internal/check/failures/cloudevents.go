package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncecloudevents"
)

// cloudEvents is with/oncecloudevents over HTTP.
var cloudEvents = adapter{name: "CloudEvents", open: openSender, consume: consumeCloudEvents}

// drain is how long the SDK lets requests finish. It may never finish one whose sender has gone.
const drain = 10 * time.Second

// A sender calls the receiver that was started last, again and again until that has said that the
// event is dealt with.
type sender struct {
	ctx     context.Context
	stop    context.CancelFunc
	lease   time.Duration // for an answer
	sending sync.WaitGroup
	open    atomic.Int64 // events that are not dealt with

	mu       sync.Mutex
	receiver string
}

func openSender(ctx context.Context, l *lab, _ string) (broker, error) {
	s := &sender{lease: l.lease / 2}
	s.ctx, s.stop = context.WithCancel(ctx)
	return s, nil
}

func (s *sender) address() string { return "" }

func (s *sender) ready(where string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receiver = where
}

func (s *sender) send(_ context.Context, m message) error {
	e := ce.NewEvent()
	e.SetSource("/shop")
	e.SetID(m.id)
	e.SetType("order.placed")
	e.SetTime(m.produced)
	s.open.Add(1)
	s.sending.Go(func() {
		for s.ctx.Err() == nil && !s.try(e) {
			time.Sleep(50 * time.Millisecond)
		}
		s.open.Add(-1)
	})
	return nil
}

// try reports whether the event is dealt with.
func (s *sender) try(e ce.Event) bool {
	s.mu.Lock()
	receiver := s.receiver
	s.mu.Unlock()
	if receiver == "" {
		return false
	}
	client, err := ce.NewClientHTTP(ce.WithTarget(receiver))
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.lease)
	defer cancel()
	return ce.IsACK(client.Send(ctx, e))
}

// replay sends the event again with its own time.
func (s *sender) replay(ctx context.Context, m message) error { return s.send(ctx, m) }

func (s *sender) idle(context.Context) (bool, error) { return s.open.Load() == 0, nil }

func (s *sender) close() {
	s.stop()
	s.sending.Wait()
}

func consumeCloudEvents(ctx context.Context, c *consumer) error {
	cfg := c.cfg
	guard := cfg.Guard
	cfg.Guard = nil
	receiver, err := oncecloudevents.New(oncecloudevents.Config{
		Guard: guard, Consumer: cfg, Result: oncecloudevents.HTTPResult,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	protocol, err := ce.NewHTTP(cehttp.WithListener(listener), cehttp.WithShutdownTimeout(drain))
	if err != nil {
		return err
	}
	client, err := ce.NewClient(protocol)
	if err != nil {
		return err
	}
	if err := c.tell(atReady, "", "http://"+listener.Addr().String()); err != nil {
		return err
	}
	return client.StartReceiver(ctx, receiver.Receive(
		func(ctx context.Context, e ce.Event) error { return c.handle(ctx, oncemsg.Message{ID: e.ID()}) }))
}
