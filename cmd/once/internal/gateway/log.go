package gateway

import (
	"context"
	"errors"
	"log/slog"

	"github.com/oncehq/once"
)

// observer tells the log what happens to operations. Keys are told as digests only.
func observer(log *slog.Logger) func(context.Context, once.Event) {
	return func(ctx context.Context, e once.Event) {
		level := levelOf(e)
		if !log.Enabled(ctx, level) {
			return
		}
		attrs := []slog.Attr{slog.String("key", e.Key.String()), slog.Int("attempt", e.Attempt), slog.Duration("took", e.Duration)}
		if e.Err != nil {
			attrs = append(attrs, slog.Any("error", e.Err))
		}
		log.LogAttrs(ctx, level, "operation "+e.Kind.String(), attrs...)
	}
}

// levelOf: what needs somebody's attention is an error; what is part of the day's work is not.
func levelOf(e once.Event) slog.Level {
	switch {
	case e.Kind == once.Abandoned || e.Kind == once.OwnerLost:
		return slog.LevelError
	case e.Kind == once.Renewed && e.Err != nil:
		return slog.LevelWarn
	case e.Kind == once.Refused && !errors.Is(e.Err, once.ErrInFlight) && !errors.Is(e.Err, once.ErrInDoubt) &&
		!errors.Is(e.Err, once.ErrMismatch):
		return slog.LevelError // the store's
	}
	return slog.LevelDebug
}
