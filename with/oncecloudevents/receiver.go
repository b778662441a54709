package oncecloudevents

import (
	"context"
	"errors"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// A Config says how events are handled once. It is copied by [New].
type Config struct {
	// Guard runs the events. Required.
	Guard *once.Guard

	// Consumer says the rest. Its Subscriber is required; its Guard is set by this package.
	Consumer oncemsg.Config

	// Result turns a decision into what the protocol is told. Defaults to [Result].
	Result func(oncemsg.Decision) protocol.Result

	// ReplayExtension names the extension attribute that makes an event run again although it is
	// recorded; see oncemsg.Message.Replay. Whoever can send can set it. Defaults to none.
	ReplayExtension string
}

// A Receiver wraps functions for the SDK's StartReceiver.
type Receiver struct {
	cfg      Config
	consumer *oncemsg.Consumer // for functions without a reply
	replier  *oncemsg.Consumer // for those with one
}

// New returns a receiver, or everything that is wrong with cfg.
func New(cfg Config) (*Receiver, error) {
	var errs []error
	if cfg.Consumer.Guard != nil {
		errs = append(errs, errors.New("oncecloudevents: config: Consumer.Guard is set; use Guard"))
	}
	cfg.Consumer.Guard = cfg.Guard
	if cfg.Result == nil {
		cfg.Result = Result
	}
	r := &Receiver{cfg: cfg}
	var err error
	if r.consumer, err = oncemsg.New(cfg.Consumer); err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	replier := cfg.Consumer
	if replier.Mode != oncemsg.DropOnlyMayLose {
		replier.Publish, replier.RecordFirst = collectReply(replier.Publish), true
	}
	if r.replier, err = oncemsg.New(replier); err != nil {
		return nil, err
	}
	return r, nil
}

// Receive wraps a function that handles an event. What its error means is said at
// oncemsg.Handler; the SDK's ResultACK, and a status of 2xx, count as nil.
func (r *Receiver) Receive(
	h func(context.Context, event.Event) error,
) func(context.Context, event.Event) protocol.Result {
	return func(ctx context.Context, e event.Event) protocol.Result {
		return r.cfg.Result(r.consumer.Handle(ctx, r.describe(e), func(ctx context.Context, _ oncemsg.Message) error {
			return failure(h(ctx, e))
		}))
	}
}

// Reply wraps a function that answers an event with another one, or with nil. An answer without
// an id gets one that is derived from the event's. The event is dead-lettered if its answer is no
// valid event, or too large for the store. In mode DropOnlyMayLose copies get no answer.
func (r *Receiver) Reply(
	h func(context.Context, event.Event) (*event.Event, error),
) func(context.Context, event.Event) (*event.Event, protocol.Result) {
	return func(ctx context.Context, e event.Event) (*event.Event, protocol.Result) {
		answer, d := r.handle(ctx, e, h)
		return answer, r.cfg.Result(d)
	}
}

// handle handles an event with a function that answers it. There is an answer only if that is recorded.
func (r *Receiver) handle(
	ctx context.Context, e event.Event, h func(context.Context, event.Event) (*event.Event, error),
) (*event.Event, oncemsg.Decision) {
	var reply reply
	ctx = context.WithValue(ctx, replyKey{}, &reply)
	m := r.describe(e)
	k, _ := r.replier.Key(m)
	d := r.replier.Handle(ctx, m, func(ctx context.Context, _ oncemsg.Message) error {
		answer, err := h(ctx, e)
		if err = failure(err); err != nil || answer == nil {
			return err
		}
		named, err := named(*answer, k)
		if err != nil {
			return err
		}
		if r.cfg.Consumer.Mode == oncemsg.DropOnlyMayLose {
			reply.event = &named
			return nil
		}
		return emitReply(ctx, named)
	})
	if d.Verb != oncemsg.Ack {
		return nil, d
	}
	return reply.event, d
}

// failure returns nil for a result that is an error by its type alone: an acknowledgement, and a
// status of HTTP that is a success.
func failure(err error) error {
	if status, ok := errors.AsType[*cehttp.Result](err); ok && status.StatusCode/100 == 2 {
		return nil
	}
	if protocol.IsACK(err) {
		return nil
	}
	return err
}

func (r *Receiver) describe(e event.Event) oncemsg.Message {
	m := Message(e)
	if r.cfg.ReplayExtension != "" {
		m.Replay = m.Header(r.cfg.ReplayExtension)
	}
	return m
}
