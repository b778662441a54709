package onceamqp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/retry"
)

// Run consumes until ctx is done. Then it lets the messages being handled finish, as Config.Drain
// says, gives back those that wait, and returns nil. Otherwise it returns an error at once if something is
// wrong with cfg, if the broker cannot be reached, or if the queue or where dead letters go does not
// exist, and later if that is deleted.
//
// Once it has begun, other errors of the broker do not end it: they are logged, and tried again for ever.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	s, err := openSession(cfg)
	if err != nil {
		return err
	}
	// Handlers outlive ctx for as long as Drain says.
	handling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r := &reader{cfg: cfg, handling: handling, slots: make(chan struct{}, cfg.Concurrency)}
	if cfg.publishesDeadLetters() {
		if r.letters, err = NewPublisher(PublisherConfig{Dial: cfg.Dial}); err != nil {
			return err
		}
		defer r.letters.Close()
	}
	for s != nil {
		r.consume(ctx, s)
		if ctx.Err() != nil {
			break
		}
		r.warn("the connection is lost; it is opened again", s.reason())
		s.close()
		if s, err = r.reopen(ctx); err != nil {
			break
		}
	}
	drained := time.AfterFunc(cfg.Drain, stop)
	defer drained.Stop()
	r.handlers.Wait()
	if s != nil {
		s.close()
	}
	return err
}

// A reader consumes a queue, in one session after the other.
type reader struct {
	cfg      Config
	handling context.Context // of handlers
	letters  *Publisher      // of dead letters
	slots    chan struct{}   // holds a token for each message being handled
	handlers sync.WaitGroup
}

func (r *reader) warn(what string, err error) {
	r.cfg.Consumer.Config().Logger.Warn("onceamqp: "+what, "queue", r.cfg.Queue, "err", err)
}

// consume hands over what is delivered, until ctx is done or the channel is closed.
func (r *reader) consume(ctx context.Context, s *session) {
	defer s.end()
	stopped := context.AfterFunc(ctx, func() {
		s.end() // first, so that nothing is begun any more
		s.ch.Cancel(s.tag, false)
	})
	defer stopped()
	for d := range s.deliveries {
		r.handlers.Go(func() { r.handle(s, d) })
	}
}

// reopen opens a session, and tries again until it can, or ctx is done, or there is no use in that.
func (r *reader) reopen(ctx context.Context) (*session, error) {
	for failures := 0; retry.Sleep(ctx, min(100*time.Millisecond<<min(failures, 6), 5*time.Second)) == nil; failures++ {
		s, err := openSession(r.cfg)
		if err == nil {
			return s, nil
		}
		if _, missing := errors.AsType[*missingError](err); missing {
			return nil, err
		}
		r.warn("the connection cannot be opened; it is tried again", err)
	}
	return nil, nil
}

// handle deals with a message, again and again if need be, until it is settled, or too old to be kept,
// or no longer this process's: the broker delivers it again then.
func (r *reader) handle(s *session, d amqp091.Delivery) {
	m := Message(r.cfg.Queue, d)
	m.Verbs = oncemsg.Verbs{
		Ack: func(context.Context) error { return d.Ack(false) },
		Nak: func(context.Context, time.Duration) error { return d.Nack(false, true) },
	}
	if r.cfg.QueueDeadLetters || r.letters != nil {
		m.Verbs.DeadLetter = func(ctx context.Context, reason string) error { return r.deadLetter(ctx, d, reason) }
	}
	for keep := time.Now().Add(r.cfg.Keep); ; {
		after, settled := r.try(s, m)
		if settled {
			return
		}
		if retry.Sleep(s.ctx, after) != nil {
			return
		}
		if time.Now().After(keep) {
			r.giveBack(d)
			return
		}
		if m.Attempt > 0 {
			m.Attempt++
		} else {
			m.Attempt = 2 // at least
		}
	}
}

// giveBack gives a message back that was kept for long enough. A quorum queue counts that as a delivery.
func (r *reader) giveBack(d amqp091.Delivery) {
	if err := d.Nack(false, true); err != nil {
		r.warn("a message could not be given back; it comes again", err)
		return
	}
	r.cfg.Consumer.Config().Logger.Warn("onceamqp: a message was kept for long and is given back; "+
		"a quorum queue drops it when that is its delivery limit",
		"queue", r.cfg.Queue, "kept", r.cfg.Keep, "deliveries", attempt(d))
}

// try handles a message once. It returns when to do so again, unless the message is settled or another's.
func (r *reader) try(s *session, m oncemsg.Message) (after time.Duration, settled bool) {
	select {
	case r.slots <- struct{}{}:
	case <-s.ctx.Done():
		return 0, true
	}
	if s.ctx.Err() != nil {
		<-r.slots
		return 0, true
	}
	d := r.run(m)
	if d.Verb == oncemsg.Retry {
		return d.After, false
	}
	err := r.cfg.Consumer.Settle(r.handling, m, d)
	if err == nil {
		return 0, true
	}
	r.warn("the broker was not told what came of a message", err)
	if d.Verb == oncemsg.Ack {
		return 0, true // the channel is dead: it comes again, and is found done
	}
	return r.cfg.Consumer.Config().Backoff(max(d.Attempt, m.Attempt)), false
}

// run runs the handler in the slot that was taken for it.
func (r *reader) run(m oncemsg.Message) oncemsg.Decision {
	defer func() { <-r.slots }() // also if the handler ends its goroutine
	return r.cfg.Consumer.Handle(r.handling, m, r.cfg.Handler)
}
