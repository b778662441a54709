package onceamqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once"
)

// closeTime is how long a broker may take to close a connection.
const closeTime = 5 * time.Second

// dial opens a connection that does not recover by itself: on a channel that is opened again under the same
// name, a delivery of the old one could be acknowledged in place of a new one.
func dial(open func() (*amqp091.Connection, error)) (*amqp091.Connection, error) {
	conn, err := open()
	if err != nil {
		return nil, err
	}
	if conn.IsRecoveryEnabled() {
		conn.Close()
		return nil, errRecovers
	}
	return conn, nil
}

var errRecovers = errors.New("onceamqp: the connection recovers by itself; leave amqp091.Config.Recovery nil, " +
	"connections are opened again by this package")

// A session is one channel that consumes, and what was delivered on it.
type session struct {
	conn       *amqp091.Connection
	ch         *amqp091.Channel
	tag        string
	deliveries <-chan amqp091.Delivery
	closing    chan *amqp091.Error // why the broker has closed it

	ctx context.Context // done when deliveries that wait are no longer this process's
	end context.CancelFunc
}

// openSession connects, and begins to consume.
func openSession(cfg Config) (*session, error) {
	conn, err := dial(cfg.Dial)
	if err != nil {
		return nil, fmt.Errorf("onceamqp: connect: %w", err)
	}
	s := &session{conn: conn, tag: "once-" + once.NewOwner().String()}
	if err := s.open(cfg); err != nil {
		s.close()
		return nil, err
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s, nil
}

func (s *session) open(cfg Config) (err error) {
	if err := checkExists(s.conn, cfg); err != nil {
		return err
	}
	if s.ch, err = s.conn.Channel(); err != nil {
		return fmt.Errorf("onceamqp: channel: %w", err)
	}
	s.closing = s.ch.NotifyClose(make(chan *amqp091.Error, 1))
	if err := s.ch.Qos(cfg.Prefetch, 0, false); err != nil {
		return fmt.Errorf("onceamqp: prefetch: %w", err)
	}
	const autoAck, exclusive, noLocal, noWait = false, false, false, false
	s.deliveries, err = s.ch.Consume(cfg.Queue, s.tag, autoAck, exclusive, noLocal, noWait, nil)
	if err != nil {
		return fmt.Errorf("onceamqp: consume queue %q: %w", cfg.Queue, err)
	}
	return nil
}

// A missingError names what does not exist.
type missingError struct {
	what, name string
	cause      error
}

func (e *missingError) Error() string {
	return fmt.Sprintf("onceamqp: %s %q is not there, and not made here; make it first: %v", e.what, e.name, e.cause)
}

func (e *missingError) Unwrap() error { return e.cause }

// checkExists reports everything that is missing. Each question takes a channel of its own, since the broker
// closes it if the answer is no.
func checkExists(conn *amqp091.Connection, cfg Config) error {
	queue := func(ch *amqp091.Channel, name string) error {
		_, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
		return err
	}
	exchange := func(ch *amqp091.Channel, name string) error {
		return ch.ExchangeDeclarePassive(name, "direct", false, false, false, false, nil)
	}
	errs := []error{exists(conn, "queue", cfg.Queue, queue)}
	if cfg.DeadLetterExchange != "" {
		errs = append(errs, exists(conn, "exchange", cfg.DeadLetterExchange, exchange))
	} else if cfg.DeadLetterKey != "" {
		errs = append(errs, exists(conn, "queue", cfg.DeadLetterKey, queue))
	}
	return errors.Join(errs...)
}

func exists(conn *amqp091.Connection, what, name string, ask func(*amqp091.Channel, string) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("onceamqp: channel: %w", err)
	}
	defer ch.Close()
	err = ask(ch, name)
	refused, _ := errors.AsType[*amqp091.Error](err)
	switch {
	case err == nil:
		return nil
	case refused != nil && refused.Code == amqp091.NotFound && !strings.Contains(refused.Reason, "down or inaccessible"):
		return &missingError{what, name, err}
	}
	// Among others: a queue whose node is down is said not to be found either.
	return fmt.Errorf("onceamqp: %s %q: %w", what, name, err)
}

// close closes the connection. What was not acknowledged is delivered again.
func (s *session) close() {
	if s.end != nil {
		s.end()
	}
	s.conn.CloseDeadline(time.Now().Add(closeTime))
}

// reason returns why the deliveries have ended.
func (s *session) reason() error {
	select {
	case err := <-s.closing:
		if err != nil {
			return err
		}
	default:
	}
	return errors.New("the broker has ended the consumer")
}
