package oncemsg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// A Mode says when a message counts as done.
type Mode uint8

const (
	// ClaimRunDone claims the message, runs the handler, and records that it is done. A crash
	// between the effect and the record leaves the message in doubt: under [once.Rerun] the
	// handler runs again, under [once.Hold] the message is dead-lettered.
	ClaimRunDone Mode = iota

	// InTransaction is ClaimRunDone over a transactional store, such as those of oncepg and
	// oncesql: the handler finds its transaction in its context, and what it does there is
	// committed together with the record, and with what it emits. Its effects in that database happen
	// exactly once. [New] refuses any other store. A failure rolls the record back, so failures are
	// counted by the broker, if it does, and by this process.
	InTransaction

	// DropOnlyMayLose marks the message as seen, then runs the handler: one round trip and no
	// outcome. If the process ends before the handler does, the message is LOST: the next copy is
	// taken for a duplicate. So it is if the store does not answer when a handler has failed. A copy is
	// acknowledged while the original still runs. There is no attempt in the handler's context,
	// so nothing can be emitted, and there are no steps. Failures are counted by the broker, if it
	// does, and by this process. Only for what may be lost, such as metrics.
	DropOnlyMayLose
)

// String returns "claim-run-done", "in-transaction" or "drop-only-may-lose".
func (m Mode) String() string {
	switch m {
	case ClaimRunDone:
		return "claim-run-done"
	case InTransaction:
		return "in-transaction"
	case DropOnlyMayLose:
		return "drop-only-may-lose"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// A Config says how a [Consumer] works. It is copied by [New]. Its functions are called by many
// goroutines at once. A panic of one that is given a message counts as that message's failure, but for
// Observe.
type Config struct {
	// Guard runs the messages. Required.
	//
	// Its lease says how soon a crash is noticed, and its MaxAttempts after how many a message is
	// poisoned.
	Guard *once.Guard

	// Subscriber names what the messages are handled for. It is the scope of the keys: two
	// subscribers are both given a message. It must stay the same when code is renamed, or
	// everything that is delivered again is run again. Required.
	Subscriber string

	// Mode says when a message counts as done. Defaults to [ClaimRunDone].
	Mode Mode

	// Key finds out what tells a message from others. Defaults to [DefaultKey].
	Key KeyFunc

	// Fingerprint returns a digest by which an id that was used for another message is noticed;
	// see [ContentFingerprint]. Defaults to nil: an id is taken at its word.
	Fingerprint func(Message) once.Fingerprint

	// Window is how long a message that is done is remembered. Copies that come later are run
	// again, see TooOld. Defaults to the guard's retention.
	Window time.Duration

	// BrokerRetention is how long after the first delivery a copy can still come: for as long as the
	// broker keeps messages, and the producer sends again, and somebody moves back what was
	// dead-lettered. [New] refuses a window that is shorter, unless TooOld is set. Defaults to unknown.
	BrokerRetention time.Duration

	// DangerouslyShortWindow allows a window shorter than BrokerRetention; a copy that comes
	// later than that is run again. It is logged at the start. Defaults to false.
	DangerouslyShortWindow bool

	// TooOld is the age from which on a message of which no record is found is not run but
	// dead-lettered: it may have been done and forgotten. It costs another call of the store for
	// such messages alone. It must not be longer than Window, and should be shorter by
	// what clocks may differ. Messages without a time are never too old. Defaults to zero: all are run.
	TooOld time.Duration

	// Publish sends what a handler has emitted, in order. It is called when the outcome is
	// recorded and before the message is acknowledged, and again for every copy that comes
	// later, with the same ids. All have been sent if it returns nil. An error marked by
	// [once.Final] says that they never will be: the message is dead-lettered.
	// Defaults to nil: [Emit] fails.
	Publish func(context.Context, []Output) error

	// RecordFirst calls Publish only with what is recorded: for one that hands the outputs to
	// somebody who sends them later. Outputs that are too large for the store dead-letter their
	// message then, instead of being published before it is recorded. Defaults to false.
	RecordFirst bool

	// DeadLetter sets a message aside which another delivery would not help. When it has returned
	// nil the message is acknowledged. It may be called again for a copy. Defaults to nil: the adapter
	// or the broker does it.
	DeadLetter func(context.Context, Message, Decision) error

	// Backoff returns how long to wait until the delivery after a failed one, of which this was the
	// given attempt. Defaults to one second, doubled each time, at most a minute, with jitter.
	Backoff func(attempt int) time.Duration

	// Observe is told of every decision. It must return quickly. Defaults to the Logger, which is told of
	// what is neither done nor in flight.
	Observe func(context.Context, Message, Decision)

	// Logger is told of what needs somebody's attention, never of keys. Defaults to
	// [slog.Default].
	Logger *slog.Logger
}

func (cfg Config) withDefaults() Config {
	if cfg.Key == nil {
		cfg.Key = DefaultKey
	}
	if cfg.Window == 0 && cfg.Guard != nil {
		cfg.Window = cfg.Guard.Config().Retention
	}
	if cfg.Backoff == nil {
		cfg.Backoff = backoff
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}

func (cfg Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncemsg: config: "+format, args...))
	}
	if cfg.Guard == nil {
		bad("Guard is missing; make one with once.New")
	} else if _, binds := cfg.Guard.Store().(once.Binder); cfg.Mode == InTransaction && !binds {
		bad("Mode is %v, but the guard's store hands no transaction to the handler; "+
			"open it with OpenTransactional", cfg.Mode)
	} else if cfg.Mode == DropOnlyMayLose && binds {
		bad("Mode is %v, but a transactional store cannot mark a message before it is handled; "+
			"use another store", cfg.Mode)
	}
	switch {
	case cfg.Subscriber == "":
		bad("Subscriber is missing; name what the messages are handled for, and keep the name")
	case len(cfg.Subscriber) > once.MaxScope:
		bad("Subscriber has %d bytes, at most %d are allowed", len(cfg.Subscriber), once.MaxScope)
	case strings.Contains(cfg.Subscriber, "\x00"):
		bad("Subscriber contains a zero byte; use text")
	}
	if cfg.Mode > DropOnlyMayLose {
		bad("Mode is %d; use ClaimRunDone, InTransaction or DropOnlyMayLose", cfg.Mode)
	}
	if cfg.Mode == DropOnlyMayLose && cfg.Publish != nil {
		bad("Publish is for modes that keep an outcome; publish in the handler")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Window", cfg.Window}, {"BrokerRetention", cfg.BrokerRetention}, {"TooOld", cfg.TooOld}} {
		if d.value < 0 {
			bad("%s is %v; it must not be negative", d.name, d.value)
		}
	}
	if cfg.TooOld > cfg.Window {
		bad("TooOld is %v, longer than the window of %v; make it shorter", cfg.TooOld, cfg.Window)
	}
	if err := cfg.checkWindow(cfg.BrokerRetention); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkWindow reports that copies can come when their record is gone.
func (cfg Config) checkWindow(retention time.Duration) error {
	if cfg.Window >= retention || cfg.TooOld > 0 {
		return nil
	}
	if cfg.DangerouslyShortWindow {
		cfg.Logger.Warn("oncemsg: copies that come after the window are run again",
			"subscriber", cfg.Subscriber, "window", cfg.Window, "broker_retention", retention)
		return nil
	}
	return fmt.Errorf("oncemsg: config: Window is %v, but the broker can deliver for %v; lengthen it, "+
		"or set TooOld to refuse what is older, or DangerouslyShortWindow", cfg.Window, retention)
}

// backoff is random from half of the pause up, so that messages that failed together do not come
// back together.
func backoff(attempt int) time.Duration {
	d := min(time.Second<<min(max(attempt-1, 0), 6), time.Minute)
	return d/2 + rand.N(d/2+1)
}
