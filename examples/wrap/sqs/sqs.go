// Package sqs handles the messages of a queue of Amazon SQS once.
package sqs

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/oncehq/once/oncemsg"
)

// describe takes the message's name from its attribute id, which the producer has set: the
// MessageId is the queue's, and another one when the producer sends again.
func describe(m types.Message) oncemsg.Message {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	attempt, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	d := oncemsg.Message{
		ID:       text(m.MessageAttributes["id"].StringValue),
		Position: text(m.MessageId),
		Payload:  []byte(text(m.Body)),
		Attempt:  attempt,
	}
	sent, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
	if err == nil {
		d.Time = time.UnixMilli(sent)
	}
	return d
}

// Receive handles messages until ctx is done or the queue does not answer. It is for handlers that
// are done within the queue's visibility timeout; for slower ones describe has to fill in Lease, and
// Verbs.Extend with a ChangeMessageVisibility.
func Receive(
	ctx context.Context, client *awssqs.Client, queue string, c *oncemsg.Consumer,
	h func(context.Context, types.Message) error,
) error {
	handle := oncemsg.Wrap(c, describe, h)
	for {
		got, err := client.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{
			QueueUrl:                    &queue,
			MaxNumberOfMessages:         1, // the next one's timeout does not run while this is handled
			WaitTimeSeconds:             20,
			MessageAttributeNames:       []string{"id"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			return err
		}
		for _, m := range got.Messages {
			// What is decided is said even if ctx is done.
			err := settle(context.WithoutCancel(ctx), client, queue, m, handle(ctx, m))
			if err != nil {
				return err
			}
		}
	}
}

func settle(ctx context.Context, client *awssqs.Client, queue string, m types.Message, err error) error {
	d, refused := oncemsg.DecisionOf(err)
	if !refused {
		_, err := client.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle})
		return err
	}
	// The queue's redrive policy sets aside what has come too often, so that there is no more to do
	// for a message that another delivery would not help.
	slog.Warn("message is not done", "decision", d.Kind, "error", err)
	seconds := min(int32(d.After.Seconds()+1), 12*60*60)
	_, err = client.ChangeMessageVisibility(ctx, &awssqs.ChangeMessageVisibilityInput{
		QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds,
	})
	return err
}
