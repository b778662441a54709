package oncemsg

import "context"

// Wrap guards a handler of any kind of message: a job of a queue, a record of a client. The
// function describes the message; it needs to fill in only what it knows, and no verbs but one.
//
// Message.Lease and Verbs.Extend are needed if the broker delivers a message again that is not
// acknowledged in time (visibility timeout, acknowledge wait) and its client does not see to that.
// Without them a handler that takes longer is not run twice, but its copies are delivered
// meanwhile, are in flight, and may use up the deliveries that the broker allows. Use
// [Consumer.Consume] if the broker should be told all else too.
//
// The wrapped handler returns nil if the message is dealt with, and otherwise an error of which
// [DecisionOf] says when it should be delivered again or if it should be set aside. Whoever calls
// it must not acknowledge the message then.
func Wrap[M any](c *Consumer, describe func(M) Message, h func(context.Context, M) error) func(context.Context, M) error {
	return func(ctx context.Context, native M) error {
		return c.Handle(ctx, describe(native), func(ctx context.Context, _ Message) error {
			return h(ctx, native)
		}).AsError()
	}
}
