package oncemsg

import (
	"context"
	"errors"
	"log/slog"
)

// observe tells the observer of a decision. If there is none the log is told, but not of what is as
// it should be: a message that holds up others must not do so in silence.
func (c *Consumer) observe(ctx context.Context, m Message, d Decision) {
	if c.cfg.Observe != nil {
		c.cfg.Observe(ctx, m, d)
		return
	}
	level, what := slog.LevelWarn, "oncemsg: message is not done, and will be delivered again"
	switch {
	case d.Kind == Ran || d.Kind == Duplicate || d.Kind == InFlight || errors.Is(d.Err, ErrNotBegun):
		return
	case d.Verb != Retry:
		level, what = slog.LevelError, "oncemsg: message is not done, and is set aside"
	}
	c.cfg.Logger.Log(ctx, level, what, "subscriber", c.cfg.Subscriber, "kind", d.Kind.String(),
		"key", d.Key.String(), "attempt", d.Attempt, "after", d.After, "error", d.Err)
}
