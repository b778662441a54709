package onceredisstream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once/oncemsg"
)

// Defaults of [Config].
const (
	DefaultLease       = 30 * time.Second
	DefaultConcurrency = 16
	DefaultDrain       = 10 * time.Second
)

// A Config says how a consumer of a group reads a stream.
type Config struct {
	// Client leads to the server that has the stream. It stays the caller's. Required.
	Client rueidis.Client

	// Stream is the key of the stream, Group the name of the group, which must exist; see
	// [CreateGroup]. Required.
	Stream, Group string

	// Name is what the group knows this consumer by. Two that are alive must not have the same.
	// Defaults to a random one, which is removed from the group when Run ends, or, if the process
	// has died and others have taken over its entries, when the Run of another one does.
	Name string

	// Consumer decides what comes of an entry. Required.
	Consumer *oncemsg.Consumer

	// Handler deals with an entry. Message.Native is a rueidis.XRangeEntry. It is called by many
	// goroutines at once. Required.
	Handler oncemsg.Handler

	// Concurrency is how many entries are handled at once. Defaults to [DefaultConcurrency].
	Concurrency int

	// Lease is after how long without a sign of life another consumer takes an entry over, in
	// whole milliseconds. All consumers of the group should have the same. Defaults to [DefaultLease].
	Lease time.Duration

	// IDField is the field in which producers name their messages. Defaults to [FieldID].
	IDField string

	// PayloadField is the field that has the message's contents. Defaults to [FieldPayload].
	PayloadField string

	// DeadLetterStream is where entries go that another delivery does not help, with all of their
	// fields, those of the headers HeaderDead, and a new id. Required, unless the Consumer has a DeadLetter.
	DeadLetterStream string

	// Drain is how long handlers may take to finish when Run ends; then their contexts are done.
	// Defaults to [DefaultDrain].
	Drain time.Duration

	// Logger is told of errors of the server, and of entries that are lost. Defaults to
	// [slog.Default].
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.IDField == "" {
		cfg.IDField = FieldID
	}
	if cfg.PayloadField == "" {
		cfg.PayloadField = FieldPayload
	}
	if cfg.Drain == 0 {
		cfg.Drain = DefaultDrain
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}

// check reports everything that is wrong.
func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceredisstream: config: "+format, args...))
	}
	if cfg.Client == nil {
		bad("Client is missing; make one with rueidis.NewClient")
	}
	if cfg.Stream == "" {
		bad("Stream is missing; name the key of the stream")
	}
	if cfg.Group == "" {
		bad("Group is missing; name a group made by CreateGroup")
	}
	if cfg.Handler == nil {
		bad("Handler is missing")
	}
	if cfg.Consumer == nil {
		bad("Consumer is missing; make one with oncemsg.New")
	} else if cfg.DeadLetterStream == "" && cfg.Consumer.Config().DeadLetter == nil {
		bad("DeadLetterStream is missing, and the Consumer has no DeadLetter; name a stream, " +
			"or an entry that cannot be handled comes again for ever")
	}
	if cfg.Concurrency < 0 {
		bad("Concurrency is %d; it must be positive", cfg.Concurrency)
	}
	if cfg.Lease < time.Millisecond {
		bad("Lease is %v; it must be at least a millisecond", cfg.Lease)
	}
	if cfg.Drain < 0 {
		bad("Drain is %v; it must not be negative", cfg.Drain)
	}
	return errors.Join(errs...)
}
