package onceamqp

import (
	"errors"
	"fmt"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once/oncemsg"
)

// Defaults of [Config].
const (
	DefaultConcurrency = 16
	DefaultKeep        = 10 * time.Minute
	DefaultDrain       = 10 * time.Second

	prefetchFactor = 4 // of Concurrency
	maxPrefetch    = 1<<16 - 1
)

// A Config says how a queue is consumed.
type Config struct {
	// Dial opens a connection to the broker: at the start, and again whenever it is lost. Run closes
	// what it returns. The connection must not recover by itself (amqp091.Config.Recovery). Required.
	Dial func() (*amqp091.Connection, error)

	// Queue names the queue, which must exist. Required.
	Queue string

	// Consumer decides what comes of a message, and its logger is told of errors. Required.
	Consumer *oncemsg.Consumer

	// Handler deals with a message. Message.Native is an amqp091.Delivery, which it must not
	// acknowledge. It is called by many goroutines at once. Required.
	Handler oncemsg.Handler

	// Concurrency is how many messages are handled at once. Defaults to [DefaultConcurrency].
	Concurrency int

	// Prefetch is how many messages this process may have that are not acknowledged: those being
	// handled, and those that wait to be handled, or handled again. When it has so many that wait, it
	// gets no new ones. Defaults to four times Concurrency.
	Prefetch int

	// Keep is how long a message that is to be handled again stays here before it is given back. It
	// must be shorter than the broker's consumer timeout. Defaults to [DefaultKeep].
	Keep time.Duration

	// DeadLetterExchange and DeadLetterKey are where messages are published that another delivery does
	// not help: an exchange, which must exist, and a routing key. If there is no exchange, the key
	// is the name of a queue, which must exist. Required, unless the Consumer has a
	// DeadLetter, or QueueDeadLetters is set.
	DeadLetterExchange, DeadLetterKey string

	// QueueDeadLetters says that the queue has a dead-letter exchange of its own, to which the
	// broker moves what is rejected. AMQP does not tell if that is true; if it is not, the
	// broker drops what is rejected. Defaults to false.
	QueueDeadLetters bool

	// Drain is how long handlers may take to finish when Run ends; then their contexts are done.
	// Defaults to [DefaultDrain].
	Drain time.Duration
}

func (cfg Config) withDefaults() Config {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = min(prefetchFactor*max(cfg.Concurrency, 0), maxPrefetch)
	}
	if cfg.Keep == 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.Drain == 0 {
		cfg.Drain = DefaultDrain
	}
	return cfg
}

// publishesDeadLetters reports whether dead letters are published here.
func (cfg Config) publishesDeadLetters() bool {
	return cfg.DeadLetterExchange != "" || cfg.DeadLetterKey != ""
}

// check reports everything that is wrong and can be told without a broker.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceamqp: config: "+format, args...))
	}
	if cfg.Dial == nil {
		bad("Dial is missing; it opens a connection, for example with amqp091.Dial")
	}
	if cfg.Queue == "" {
		bad("Queue is missing; name a queue that exists")
	}
	if cfg.Handler == nil {
		bad("Handler is missing")
	}
	own := false
	if cfg.Consumer == nil {
		bad("Consumer is missing; make one with oncemsg.New")
	} else {
		own = cfg.Consumer.Config().DeadLetter != nil
	}
	switch published := cfg.publishesDeadLetters(); {
	case published && cfg.QueueDeadLetters:
		bad("QueueDeadLetters is set, and DeadLetterExchange or DeadLetterKey as well; choose one")
	case !published && !cfg.QueueDeadLetters && !own:
		bad("DeadLetterKey is missing, and the Consumer has no DeadLetter; name a queue or an exchange, " +
			"or a message that cannot be handled comes again for ever")
	case published && cfg.DeadLetterExchange == "" && cfg.DeadLetterKey == cfg.Queue:
		bad("DeadLetterKey is the queue itself, so that dead letters would be handled again; name another one")
	}
	if cfg.Concurrency < 0 {
		bad("Concurrency is %d; it must be positive", cfg.Concurrency)
	}
	if cfg.Prefetch < cfg.Concurrency || cfg.Prefetch > maxPrefetch {
		bad("Prefetch is %d; it must be at least Concurrency, %d, and at most %d", cfg.Prefetch, cfg.Concurrency, maxPrefetch)
	}
	if cfg.Keep < 0 {
		bad("Keep is %v; it must not be negative", cfg.Keep)
	}
	if cfg.Drain < 0 {
		bad("Drain is %v; it must not be negative", cfg.Drain)
	}
	return errors.Join(errs...)
}
