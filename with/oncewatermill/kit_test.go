package oncewatermill_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncewatermill"
)

var errNet = errors.New("connection reset")

func newOnce(t testing.TB, cfg oncewatermill.Config) *oncewatermill.Once {
	t.Helper()
	if cfg.Guard == nil {
		cfg.Guard = newGuard(t, once.Config{})
	}
	cfg.Consumer.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	o, err := oncewatermill.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func newGuard(t testing.TB, cfg once.Config) *once.Guard {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = new(oncemem.Store)
	}
	cfg.InDoubt = once.Rerun
	g, err := once.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A stage is a router over a broker in this process, and what happens there.
type stage struct {
	broker *gochannel.GoChannel
	router *message.Router

	mu        sync.Mutex
	failures  int // so many handlers fail
	refusals  int // so many messages cannot be published to "out"
	handled   map[string][]string
	published []*message.Message
}

// newStage must be called in a bubble of synctest.
func newStage(t *testing.T, middlewares ...message.HandlerMiddleware) *stage {
	t.Helper()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		broker: gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 100}, watermill.NopLogger{}),
		router: router, handled: map[string][]string{},
	}
	router.AddMiddleware(middlewares...)
	t.Cleanup(func() { // in the bubble, so that its goroutines end
		router.Close()
		s.broker.Close()
	})
	return s
}

// Publish implements message.Publisher for what handlers produce.
func (s *stage) Publish(topic string, ms ...*message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusals > 0 {
		s.refusals--
		return errNet
	}
	for _, m := range ms {
		c := m.Copy()
		c.Metadata.Set("topic", topic)
		s.published = append(s.published, c)
	}
	return nil
}

func (s *stage) Close() error { return nil }

// handler returns one that takes note of what it handles, and produces a message with a random
// UUID.
func (s *stage) handler(name string) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handled[name] = append(s.handled[name], m.UUID)
		if s.failures > 0 {
			s.failures--
			return nil, errNet
		}
		out := message.NewMessage(watermill.NewUUID(), append([]byte("re: "), m.Payload...))
		out.Metadata.Set("of", m.UUID)
		return []*message.Message{out}, nil
	}
}

// run starts the router, sends the messages, and lets ten minutes pass.
func (s *stage) run(t *testing.T, ms ...*message.Message) {
	t.Helper()
	go s.router.Run(context.Background())
	<-s.router.Running()
	for _, m := range ms {
		if err := s.broker.Publish("in", m); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Minute)
	synctest.Wait()
}

// saw returns what a handler was given.
func (s *stage) saw(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.handled[name], " ")
}

// sent returns the payloads and the distinct UUIDs of what was published.
func (s *stage) sent() (payloads string, uuids int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	distinct := map[string]bool{}
	var all []string
	for _, m := range s.published {
		all = append(all, string(m.Payload))
		distinct[m.UUID] = true
	}
	return strings.Join(all, ", "), len(distinct)
}

func msg(uuid, payload string) *message.Message {
	return message.NewMessage(uuid, []byte(payload))
}

func decision(err error) oncemsg.Decision {
	e, ok := errors.AsType[*oncemsg.Error](err)
	if !ok {
		return oncemsg.Decision{Kind: oncemsg.Ran, Verb: oncemsg.Ack}
	}
	return e.Decision
}
