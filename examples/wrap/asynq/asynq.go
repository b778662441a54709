// Package asynq runs the tasks of an Asynq server once.
package asynq

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/oncehq/once/oncemsg"
)

// describe takes the task's name from its id, which whoever enqueues it sets with [asynq.TaskID].
// Asynq refuses an id that it still has; a record of package once outlives the task.
func describe(t *asynq.Task) oncemsg.Message {
	m := oncemsg.Message{Source: t.Type(), Payload: t.Payload()}
	if w := t.ResultWriter(); w != nil { // nil outside of a server
		m.ID = w.TaskID()
	}
	return m
}

// Handler returns a handler for [asynq.ServeMux.Handle].
func Handler(c *oncemsg.Consumer, h func(context.Context, *asynq.Task) error) asynq.HandlerFunc {
	handle := oncemsg.Wrap(c, describe, h)
	return func(ctx context.Context, t *asynq.Task) error {
		err := handle(ctx, t)
		if d, ok := oncemsg.DecisionOf(err); ok && d.Verb == oncemsg.DeadLetter {
			return fmt.Errorf("%w: %w", err, asynq.SkipRetry) // it is archived
		}
		return err
	}
}

// Configure has a server run tasks again when it makes sense, and not count those as failed that
// another worker has in hand.
func Configure(cfg asynq.Config) asynq.Config {
	cfg.RetryDelayFunc = func(n int, err error, t *asynq.Task) time.Duration {
		if d, ok := oncemsg.DecisionOf(err); ok && d.Verb == oncemsg.Retry {
			return d.After
		}
		return asynq.DefaultRetryDelayFunc(n, err, t)
	}
	cfg.IsFailure = func(err error) bool {
		d, ok := oncemsg.DecisionOf(err)
		return !ok || d.Kind != oncemsg.InFlight && d.Kind != oncemsg.Unavailable
	}
	return cfg
}
