package oncejetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/retry"
)

const (
	pullTime  = 5 * time.Second // how long a request for messages is held
	flushTime = 5 * time.Second
)

// Run consumes until ctx is done. Then it lets the messages being handled finish, as Config.Drain
// says, and returns nil. Otherwise it returns an error at once if something is wrong with cfg, if the
// stream or its consumer does not exist or would lose messages, and later if they are deleted or
// the connection is closed for good.
//
// Other errors of the servers do not end it: they are logged, and tried again for ever.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	c, err := open(ctx, cfg)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	// Handlers outlive ctx for as long as Drain says.
	handling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r := &reader{
		cfg: cfg, handling: handling, consumer: c,
		slots: make(chan struct{}, cfg.Concurrency), failed: make(chan error, 1),
	}
	pulling, cancel := context.WithCancel(ctx)
	err = r.read(pulling)
	cancel()
	r.pulls.Wait()
	drained := time.AfterFunc(cfg.Drain, stop)
	defer drained.Stop()
	r.handlers.Wait()
	r.flush()
	return err
}

// open finds the consumer, if it can be read without losing messages.
func open(ctx context.Context, cfg Config) (jetstream.Consumer, error) {
	s, c, err := lookup(ctx, cfg)
	if err != nil {
		return nil, err
	}
	checkRetention(cfg, s.CachedInfo().Config)
	return c, checkDeadLetters(ctx, cfg, c.CachedInfo().Config)
}

// A reader is one puller of the consumer.
type reader struct {
	cfg      Config
	handling context.Context // of handlers
	consumer jetstream.Consumer
	slots    chan struct{} // holds a token for each message asked for or being handled
	failed   chan error    // why a pull has ended
	failures atomic.Int32  // since one has succeeded
	pulls    sync.WaitGroup
	handlers sync.WaitGroup
}

// read asks for as many messages as can be handled, again whenever some are done, until ctx is done.
func (r *reader) read(ctx context.Context) error {
	for {
		n := r.acquire(ctx)
		if n == 0 {
			return nil
		}
		select {
		case err := <-r.failed: // it was there before the slots of its pull were free
			r.release(n)
			if err := r.again(ctx, err); err != nil {
				return err
			}
		default:
			r.pull(ctx, n)
		}
	}
}

// pull asks for n messages. They are handled as they come.
func (r *reader) pull(ctx context.Context, n int) {
	lease := leaseOf(r.consumer.CachedInfo().Config)
	ctx, cancel := context.WithTimeout(ctx, pullTime)
	batch, err := r.consumer.Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		cancel()
		r.fail(err)
		r.release(n)
		return
	}
	r.pulls.Go(func() {
		defer cancel()
		left := n
		for msg := range batch.Messages() {
			left--
			r.handle(msg, lease)
		}
		if err := batch.Error(); err == nil {
			r.failures.Store(0)
		} else if !errors.Is(err, context.Canceled) {
			r.fail(err)
		}
		r.release(left)
	})
}

func (r *reader) fail(err error) {
	select {
	case r.failed <- err:
	default: // there is another one
	}
}

// again reports an error of the servers, waits, and looks the consumer up. It returns an error if there is
// no use in trying again.
func (r *reader) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	r.cfg.Consumer.Config().Logger.Warn("oncejetstream: pulling failed; it is tried again",
		"stream", r.cfg.Stream, "consumer", r.cfg.Durable, "err", err)
	if retry.Sleep(ctx, min(50*time.Millisecond<<min(r.failures.Add(1), 7), 5*time.Second)) != nil {
		return nil
	}
	if r.cfg.JetStream.Conn().IsClosed() {
		return fmt.Errorf("oncejetstream: %w", nats.ErrConnectionClosed)
	}
	_, c, err := lookup(ctx, r.cfg)
	if _, gone := errors.AsType[goneError](err); gone {
		return err
	}
	if err == nil {
		r.consumer = c
	}
	return nil
}

// handle hands a message to the consumer, in a goroutine that has a slot.
func (r *reader) handle(msg jetstream.Msg, lease time.Duration) {
	r.handlers.Go(func() {
		defer r.release(1)
		log := r.cfg.Consumer.Config().Logger
		m, err := r.deliver(msg, lease)
		if err != nil {
			log.Error("oncejetstream: a message cannot be understood; it comes again", "stream", r.cfg.Stream, "err", err)
			return
		}
		if _, err := r.cfg.Consumer.Consume(r.handling, m, r.cfg.Handler); err != nil {
			log.Error("oncejetstream: the server was not told what came of a message; it comes again",
				"stream", r.cfg.Stream, "err", err)
		}
	})
}

// acquire takes all slots that are free, at least one. It returns zero when ctx is done.
func (r *reader) acquire(ctx context.Context) (n int) {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n = 1; n < r.cfg.Concurrency; n++ {
		select {
		case r.slots <- struct{}{}:
			continue
		default:
		}
		break
	}
	return n
}

func (r *reader) release(n int) {
	for range n {
		<-r.slots
	}
}

// flush waits until the servers have the last acknowledgements. What they do not get comes again.
func (r *reader) flush() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.handling), flushTime)
	defer cancel()
	if err := r.cfg.JetStream.Conn().FlushWithContext(ctx); err != nil {
		r.cfg.Consumer.Config().Logger.Warn("oncejetstream: the last acknowledgements may be lost; their messages come again",
			"stream", r.cfg.Stream, "err", err)
	}
}
