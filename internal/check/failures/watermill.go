package main

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/redis/go-redis/v9"

	"github.com/oncehq/once"
	"github.com/oncehq/once/with/oncewatermill"
)

// watermillRedis is with/oncewatermill on Watermill's own subscriber for Redis streams.
var watermillRedis = adapter{
	name: "Watermill", open: openWatermill, consume: consumeWatermill, timeless: true,
}

// A watermillBroker is a stream as Watermill writes it.
type watermillBroker struct {
	redisBroker
	client    *redis.Client
	publisher *redisstream.Publisher
}

func openWatermill(ctx context.Context, l *lab, cell string) (broker, error) {
	stream, err := openRedisStream(ctx, l, cell)
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: l.redis.Addr})
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, watermill.NopLogger{})
	if err != nil {
		client.Close()
		return nil, err
	}
	return watermillBroker{stream.(redisBroker), client, publisher}, nil
}

func (b watermillBroker) send(_ context.Context, m message) error {
	return b.publisher.Publish(b.stream, wm.NewMessage(m.id, []byte(m.id)))
}

// replay sends the message again with its UUID.
func (b watermillBroker) replay(ctx context.Context, m message) error { return b.send(ctx, m) }

func (b watermillBroker) close() {
	b.publisher.Close()
	b.client.Close()
}

func consumeWatermill(ctx context.Context, c *consumer) error {
	client := redis.NewClient(&redis.Options{Addr: c.Broker})
	defer client.Close()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: redisGroup, ClaimInterval: c.BrokerLease / 10,
		MaxIdleTime: c.BrokerLease, NackResendSleep: 100 * time.Millisecond,
		DisableIndefiniteInitialBlock: true,
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router, err := wm.NewRouter(wm.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	if err := c.addMiddleware(router); err != nil {
		return err
	}
	router.AddHandler("billing", c.Cell, subscriber, "ledger", ledgerPublisher{c}, c.handleWatermill)
	return router.Run(ctx)
}

// addMiddleware adds ours, or Watermill's own with its defaults but for the window.
func (c *consumer) addMiddleware(router *wm.Router) error {
	if !c.mode.rival {
		cfg := c.cfg
		guard := cfg.Guard
		cfg.Guard, cfg.Publish = nil, nil // the router publishes
		o, err := oncewatermill.New(oncewatermill.Config{
			Guard: guard, Consumer: cfg, TimeMetadata: "time", // which is not set: messages have none by default
		})
		if err != nil {
			return err
		}
		router.AddMiddleware(o.Middleware)
		return nil
	}
	seen, err := middleware.NewMapExpiringKeyRepository(c.Window)
	if err != nil {
		return err
	}
	router.AddMiddleware(c.tellRecorded, (&middleware.Deduplicator{Repository: seen}).Middleware)
	return nil
}

// tellRecorded tells that the rival has done its part.
func (c *consumer) tellRecorded(h wm.HandlerFunc) wm.HandlerFunc {
	return func(m *wm.Message) ([]*wm.Message, error) {
		produced, err := h(m)
		if err == nil && len(produced) > 0 {
			err = c.tell(atRecorded, m.UUID, "")
		}
		return produced, err
	}
}

func (c *consumer) handleWatermill(m *wm.Message) ([]*wm.Message, error) {
	if err := c.work(m.Context(), m.UUID); err != nil {
		return nil, err
	}
	if !c.mode.rival && c.cfg.Publish == nil { // in mode DropOnlyMayLose
		return nil, nil
	}
	id := once.DerivedID(m.Context(), "output")
	if c.mode.rival {
		id = watermill.NewUUID()
	}
	out := wm.NewMessage(id, nil)
	out.Metadata.Set("of", m.UUID)
	return []*wm.Message{out}, nil
}

// A ledgerPublisher publishes to the ledger.
type ledgerPublisher struct{ c *consumer }

// Publish implements wm.Publisher.
func (p ledgerPublisher) Publish(_ string, ms ...*wm.Message) error {
	var errs []error
	for _, m := range ms {
		errs = append(errs, p.c.tell(atOutput, m.Metadata.Get("of"), m.UUID))
	}
	return errors.Join(errs...)
}

// Close implements wm.Publisher.
func (p ledgerPublisher) Close() error { return nil }
