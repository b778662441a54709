package oncemsg

import "context"

// Wrap guards a handler of any kind of message: a job of a queue, a record of a client. The
// function describes the message; it needs to fill in only what it knows, and no verbs.
//
// The wrapped handler returns nil if the message is dealt with, and otherwise an [*Error], whose
// Decision says when it should be delivered again or if it should be set aside. Whoever calls it must
// not acknowledge the message then.
func Wrap[M any](c *Consumer, describe func(M) Message, h func(context.Context, M) error) func(context.Context, M) error {
	return func(ctx context.Context, native M) error {
		return c.Handle(ctx, describe(native), func(ctx context.Context, _ Message) error {
			return h(ctx, native)
		}).AsError()
	}
}
