package oncejetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once"
)

// lookupTime is how long the servers may take to describe a stream and its consumer.
const lookupTime = 10 * time.Second

// A goneError says that what is consumed does not exist, or would lose messages. It ends Run.
type goneError struct{ error }

func (e goneError) Unwrap() error { return e.error }

// lookup finds the consumer, and reports everything that is wrong with it.
func lookup(ctx context.Context, cfg Config) (jetstream.Stream, jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	s, err := cfg.JetStream.Stream(ctx, cfg.Stream)
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = goneError{fmt.Errorf("it is not made here; make it first: %w", err)}
		}
		return nil, nil, fmt.Errorf("oncejetstream: stream %q: %w", cfg.Stream, err)
	}
	c, err := s.Consumer(ctx, cfg.Durable)
	if err != nil {
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			err = goneError{fmt.Errorf("it is not made here; make it first: %w", err)}
		case errors.Is(err, jetstream.ErrNotPullConsumer):
			err = goneError{fmt.Errorf("the server pushes its messages; make a pull consumer: %w", err)}
		}
		return nil, nil, fmt.Errorf("oncejetstream: consumer %q of stream %q: %w", cfg.Durable, cfg.Stream, err)
	}
	if err := checkConsumer(cfg, c.CachedInfo().Config); err != nil {
		return nil, nil, goneError{err}
	}
	return s, c, nil
}

// checkConsumer reports settings with which messages would be lost.
func checkConsumer(cfg Config, c jetstream.ConsumerConfig) error {
	var errs []error
	bad := func(format string, args ...any) {
		prefix := fmt.Sprintf("oncejetstream: consumer %q: ", cfg.Durable)
		errs = append(errs, fmt.Errorf(prefix+format, args...))
	}
	if c.AckPolicy != jetstream.AckExplicitPolicy {
		bad("its AckPolicy is %v, with which messages are acknowledged that are not dealt with; "+
			"make it AckExplicit", c.AckPolicy)
	}
	if c.MaxDeliver > 0 {
		bad("its MaxDeliver is %d, after which the server drops a message, also if the store was down; "+
			"make it -1: the guard's MaxAttempts counts", c.MaxDeliver)
	}
	if c.HeadersOnly && cfg.DeadLetterSubject != "" {
		bad("it delivers headers only, and dead letters would have no contents; turn HeadersOnly off, " +
			"or set the Consumer's DeadLetter instead of DeadLetterSubject")
	}
	return errors.Join(errs...)
}

// checkDeadLetters reports a dead-letter subject that no stream keeps, or that the consumer itself
// is given.
func checkDeadLetters(ctx context.Context, cfg Config, c jetstream.ConsumerConfig) error {
	if cfg.DeadLetterSubject == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	name, err := cfg.JetStream.StreamNameBySubject(ctx, cfg.DeadLetterSubject)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("oncejetstream: config: no stream keeps DeadLetterSubject %q; make one",
			cfg.DeadLetterSubject)
	case err != nil: // it may not be allowed to ask; publishing will tell
		cfg.Consumer.Config().Logger.Warn("oncejetstream: cannot find out if a stream keeps dead letters",
			"subject", cfg.DeadLetterSubject, "err", err)
	case name == cfg.Stream && gives(c, cfg.DeadLetterSubject):
		return fmt.Errorf("oncejetstream: config: DeadLetterSubject %q is among what consumer %q is given, "+
			"so that dead letters would be handled again; name another subject, or filter it out",
			cfg.DeadLetterSubject, cfg.Durable)
	}
	return nil
}

// gives reports whether the consumer delivers what is published to the subject.
func gives(c jetstream.ConsumerConfig, subject string) bool {
	filters := c.FilterSubjects
	if c.FilterSubject != "" {
		filters = append(filters, c.FilterSubject)
	}
	for _, f := range filters {
		if matches(f, subject) {
			return true
		}
	}
	return len(filters) == 0
}

// matches reports whether a filter matches a subject: "*" is one token, ">" the rest, at least one.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		switch {
		case i >= len(s):
			return false
		case token == ">":
			return true
		case token != "*" && token != s[i]:
			return false
		}
	}
	return len(f) == len(s)
}

// checkRetention warns of a stream that keeps messages for longer than the consumer remembers
// them: when the NATS consumer is made anew, or the process was down, copies come that are run again.
func checkRetention(cfg Config, s jetstream.StreamConfig) {
	keeps := s.MaxAge
	if keeps == 0 {
		keeps = once.Forever
	}
	if err := cfg.Consumer.CheckRetention(keeps); err != nil {
		cfg.Consumer.Config().Logger.Warn("oncejetstream: the stream keeps messages longer than they are remembered",
			"stream", cfg.Stream, "err", err)
	}
}

// leaseOf returns how long the server waits at least for a sign of life.
func leaseOf(c jetstream.ConsumerConfig) time.Duration {
	lease := c.AckWait
	for _, d := range c.BackOff { // used in place of AckWait
		lease = min(lease, d)
	}
	return lease
}
