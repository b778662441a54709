package oncejetstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once/oncemsg"
)

// Defaults of [Config].
const (
	DefaultConcurrency = 16
	DefaultDrain       = 10 * time.Second
)

// A Config says how a stream is consumed.
type Config struct {
	// JetStream leads to the servers. It and its connection stay the caller's. The
	// connection should reconnect for ever (nats.MaxReconnects(-1)): Run ends with an error when it
	// is closed. Required.
	JetStream jetstream.JetStream

	// Stream and Durable name the stream and its pull consumer, which must exist. Any number of
	// processes may share the consumer. Required.
	Stream, Durable string

	// Consumer decides what comes of a message, and its logger is told of errors. Required.
	Consumer *oncemsg.Consumer

	// Handler deals with a message. Message.Native is a jetstream.Msg, which it must not
	// acknowledge. It is called by many goroutines at once. Required.
	Handler oncemsg.Handler

	// Concurrency is how many messages are handled at once. Defaults to [DefaultConcurrency].
	Concurrency int

	// IDHeader is the header in which producers name their messages. Defaults to Nats-Msg-Id.
	IDHeader string

	// DeadLetterSubject is where messages are published that another delivery does not help. A
	// stream must keep it, and the consumer must not be given it. A few headers are added to a message: if
	// the stream, or the server, does not take it for its size it is logged, and comes again for ever.
	// Required, unless the Consumer has a DeadLetter.
	DeadLetterSubject string

	// DoubleAck waits for the server to confirm every acknowledgement. Nothing is lost or run
	// twice without it; with it, Run logs those that did not arrive. Defaults to false.
	DoubleAck bool

	// Drain is how long handlers may take to finish when Run ends; then their contexts are done.
	// Defaults to [DefaultDrain].
	Drain time.Duration
}

func (cfg Config) withDefaults() Config {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.IDHeader == "" {
		cfg.IDHeader = jetstream.MsgIDHeader
	}
	if cfg.Drain == 0 {
		cfg.Drain = DefaultDrain
	}
	return cfg
}

// check reports everything that is wrong and can be told without a server.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncejetstream: config: "+format, args...))
	}
	if cfg.JetStream == nil {
		bad("JetStream is missing; make one with jetstream.New")
	}
	if cfg.Stream == "" {
		bad("Stream is missing; name a stream that exists")
	}
	if cfg.Durable == "" {
		bad("Durable is missing; name a pull consumer of the stream")
	}
	if cfg.Handler == nil {
		bad("Handler is missing")
	}
	if cfg.Consumer == nil {
		bad("Consumer is missing; make one with oncemsg.New")
	} else if cfg.DeadLetterSubject == "" && cfg.Consumer.Config().DeadLetter == nil {
		bad("DeadLetterSubject is missing, and the Consumer has no DeadLetter; name a subject, " +
			"or a message that cannot be handled comes again for ever")
	}
	if strings.ContainsAny(cfg.DeadLetterSubject, "*> \t\r\n") {
		bad("DeadLetterSubject has wildcards or spaces; messages cannot be published there")
	}
	if cfg.Concurrency < 0 {
		bad("Concurrency is %d; it must be positive", cfg.Concurrency)
	}
	if cfg.Drain < 0 {
		bad("Drain is %v; it must not be negative", cfg.Drain)
	}
	return errors.Join(errs...)
}
