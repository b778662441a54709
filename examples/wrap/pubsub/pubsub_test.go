package pubsub_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/oncehq/once"
	wrapped "github.com/oncehq/once/examples/wrap/pubsub"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

const (
	topic        = "projects/p/topics/charges"
	subscription = "projects/p/subscriptions/billing"
)

// The server is Google's own for tests. The producer publishes a message again, and the handler
// fails the first time.
func TestMessageThatIsPublishedAgainChargesOnce(t *testing.T) {
	t.Parallel()
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	done, kinds := map[string]int{}, map[oncemsg.Kind]int{}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard: guard, Subscriber: "billing", Logger: slog.New(slog.DiscardHandler),
		Observe: func(_ context.Context, _ oncemsg.Message, d oncemsg.Decision) {
			mu.Lock()
			defer mu.Unlock()
			kinds[d.Kind]++
			if kinds[oncemsg.Ran] == 2 && kinds[oncemsg.Duplicate] == 2 {
				cancel()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t)
	publisher := client.Publisher(topic)
	defer publisher.Stop()
	for _, id := range []string{"order-1", "order-1", "order-2", "order-1"} {
		m := &pubsub.Message{Data: []byte("12.50"), Attributes: map[string]string{"id": id}}
		if _, err := publisher.Publish(ctx, m).Get(ctx); err != nil {
			t.Fatal(err)
		}
	}
	failed := false
	err = wrapped.Receive(ctx, client.Subscriber(subscription), consumer, func(_ context.Context, m *pubsub.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if !failed {
			failed = true
			return errors.New("the first time it fails")
		}
		done[m.Attributes["id"]]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != 2 || done["order-1"] != 1 || done["order-2"] != 1 || kinds[oncemsg.Failed] != 1 {
		t.Errorf("done: %v, decisions: %v; want each once, and one failure", done, kinds)
	}
}

func newClient(t *testing.T) *pubsub.Client {
	t.Helper()
	server := pstest.NewServer()
	t.Cleanup(func() { server.Close() })
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client, err := pubsub.NewClient(t.Context(), "p", option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: subscription, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	return client
}
