package sqs_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/oncehq/once"
	wrapped "github.com/oncehq/once/examples/wrap/sqs"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

// The producer sends a message again, and the handler fails the first time.
func TestMessageThatIsSentAgainChargesOnce(t *testing.T) {
	t.Parallel()
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q := &queue{empty: cancel}
	for _, id := range []string{"order-1", "order-1", "order-2", "order-1"} {
		q.send(id)
	}
	server := httptest.NewServer(q)
	defer server.Close()
	client := awssqs.New(awssqs.Options{
		BaseEndpoint: &server.URL, Region: "local", DisableMessageChecksumValidation: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
		}),
	})
	done, failed := map[string]int{}, false
	err = wrapped.Receive(ctx, client, server.URL+"/1/charges", consumer, func(_ context.Context, m types.Message) error {
		if !failed {
			failed = true
			return errors.New("the first time it fails")
		}
		done[*m.MessageAttributes["id"].StringValue]++
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
	if len(done) != 2 || done["order-1"] != 1 || done["order-2"] != 1 {
		t.Errorf("done: %v; want each once", done)
	}
	if q.delayed != 1 {
		t.Errorf("%d messages were delayed, want the one that failed", q.delayed)
	}
}

// A queue speaks as much of the protocol of SQS as is needed. What is delayed comes last.
type queue struct {
	empty func() // is called when all messages are deleted

	mu       sync.Mutex
	messages []types.Message
	hidden   *types.Message // the one that is being handled
	sent     int
	delayed  int
}

func (q *queue) send(id string) {
	q.sent++
	name := strconv.Itoa(q.sent)
	q.messages = append(q.messages, types.Message{
		MessageId: &name, ReceiptHandle: &name, Body: aws.String("12.50"),
		MessageAttributes: map[string]types.MessageAttributeValue{"id": {DataType: aws.String("String"), StringValue: &id}},
		Attributes:        map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
	})
}

func (q *queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct {
		ReceiptHandle     string
		VisibilityTimeout int
	}
	err := json.NewDecoder(r.Body).Decode(&req)
	q.mu.Lock()
	defer q.mu.Unlock()
	held := q.hidden != nil && *q.hidden.ReceiptHandle == req.ReceiptHandle
	answer := map[string]any{}
	switch action := r.Header.Get("X-Amz-Target"); {
	case err == nil && action == "AmazonSQS.ReceiveMessage" && q.hidden == nil && len(q.messages) > 0:
		q.hidden, q.messages = &q.messages[0], q.messages[1:]
		answer["Messages"] = []types.Message{*q.hidden}
	case err == nil && action == "AmazonSQS.DeleteMessage" && held:
		q.hidden = nil
		if len(q.messages) == 0 {
			q.empty()
		}
	case err == nil && action == "AmazonSQS.ChangeMessageVisibility" && held && req.VisibilityTimeout > 0:
		q.messages, q.hidden = append(q.messages, *q.hidden), nil
		q.delayed++
	default:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	json.NewEncoder(w).Encode(answer)
}
