package oncewatermill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/retry"
)

// A Config says how messages are handled once. It is copied by [New].
type Config struct {
	// Guard runs the messages. Required.
	Guard *once.Guard

	// Consumer says the rest. Its Guard is set by this package, and its Publish: the router publishes.
	// An empty Subscriber is the name of the router's handler; a Subscriber is that of all handlers
	// that the middleware is added to, so that one of them runs for each message.
	Consumer oncemsg.Config

	// ReplayMetadata names the metadata that makes a message run again although it is recorded;
	// see oncemsg.Message.Replay. Whoever can publish can set it. Defaults to none.
	ReplayMetadata string

	// TimeMetadata names the metadata in which publishers say when they have made the message, in
	// RFC 3339, such as "ce_time". Watermill's own messages have no time, and those without one are
	// never too old. Required if Consumer.TooOld is set.
	TimeMetadata string
}

// A Once is a middleware for handlers of a router. It may be added to many handlers, and to the
// router itself.
type Once struct {
	cfg Config

	mu        sync.Mutex // guards the rest
	consumers map[string]*oncemsg.Consumer
}

// New returns the middleware, or everything that is wrong with cfg.
func New(cfg Config) (*Once, error) {
	var errs []error
	if cfg.Consumer.Guard != nil {
		errs = append(errs, errors.New("oncewatermill: config: Consumer.Guard is set; use Guard"))
	}
	if cfg.Consumer.Publish != nil {
		errs = append(errs, errors.New("oncewatermill: config: Consumer.Publish is set; "+
			"the router publishes what the handler returns"))
	}
	if cfg.Consumer.TooOld > 0 && cfg.TimeMetadata == "" {
		errs = append(errs, errors.New("oncewatermill: config: Consumer.TooOld is set, but no message has a time; "+
			"set TimeMetadata as well"))
	}
	cfg.Consumer.Guard = cfg.Guard
	if cfg.Consumer.Mode != oncemsg.DropOnlyMayLose {
		cfg.Consumer.Publish, cfg.Consumer.RecordFirst = collect, true
	}
	o := &Once{cfg: cfg, consumers: make(map[string]*oncemsg.Consumer)}
	if _, err := o.consumer("a handler"); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return o, nil
}

// consumer returns that of the router's handler.
func (o *Once) consumer(handler string) (*oncemsg.Consumer, error) {
	cfg := o.cfg.Consumer
	if cfg.Subscriber == "" {
		cfg.Subscriber = handler
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.consumers[cfg.Subscriber]; c != nil {
		return c, nil
	}
	c, err := oncemsg.New(cfg)
	if err != nil {
		return nil, err
	}
	o.consumers[cfg.Subscriber] = c
	return c, nil
}

// IsPoison reports whether err, returned by the middleware, is about a message that another
// delivery would not help: the filter for Watermill's PoisonQueueWithFilter.
func IsPoison(err error) bool {
	e, ok := errors.AsType[*oncemsg.Error](err)
	return ok && e.Decision.Verb == oncemsg.DeadLetter
}

// Middleware is a message.HandlerMiddleware.
func (o *Once) Middleware(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		c, err := o.consumer(message.HandlerNameFromCtx(ctx))
		if err != nil {
			return nil, fmt.Errorf("oncewatermill: use the middleware in a router, or set Consumer.Subscriber: %w", err)
		}
		var produced collector
		ctx = context.WithValue(ctx, collectorKey{}, &produced)
		d := c.Handle(ctx, o.describe(msg), func(ctx context.Context, _ oncemsg.Message) error {
			return o.handle(ctx, msg, h)
		})
		if err := d.AsError(); err != nil {
			retry.Sleep(msg.Context(), pause(d))
			return nil, err
		}
		return produced.messages, nil
	}
}

// handle calls the handler under the context of the attempt, and emits what it has produced. In mode
// DropOnlyMayLose that is not recorded, and given to the router as it is.
func (o *Once) handle(ctx context.Context, msg *message.Message, h message.HandlerFunc) error {
	before := msg.Context()
	msg.SetContext(ctx)
	defer msg.SetContext(before)
	produced, err := h(msg)
	if err != nil || len(produced) == 0 {
		return err
	}
	if o.cfg.Consumer.Mode == oncemsg.DropOnlyMayLose {
		ctx.Value(collectorKey{}).(*collector).messages = produced
		return nil
	}
	return oncemsg.Emit(ctx, outputs(produced)...)
}

func (o *Once) describe(msg *message.Message) oncemsg.Message {
	m := oncemsg.Message{ID: msg.UUID, Payload: msg.Payload, Header: msg.Metadata.Get, Native: msg}
	if o.cfg.ReplayMetadata != "" {
		m.Replay = msg.Metadata.Get(o.cfg.ReplayMetadata)
	}
	if o.cfg.TimeMetadata != "" { // it stays zero if there is none
		m.Time, _ = time.Parse(time.RFC3339, msg.Metadata.Get(o.cfg.TimeMetadata))
	}
	return m
}

// pause returns how long to wait before the message is asked for again: many brokers deliver at
// once what they are refused. A handler's own failure is passed on without a wait, to Watermill's
// own middlewares for that.
func pause(d oncemsg.Decision) time.Duration {
	switch d.Kind {
	case oncemsg.InFlight, oncemsg.Unavailable, oncemsg.Unacknowledged:
		return d.After
	}
	return 0
}
