package asynq_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/oncehq/once"
	wrapped "github.com/oncehq/once/examples/wrap/asynq"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

const charge = "charge"

// Asynq takes an id again when it has forgotten the task; the record outlives it.
func TestTaskThatIsEnqueuedAgainChargesOnce(t *testing.T) {
	t.Parallel()
	guard, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := oncemsg.New(oncemsg.Config{Guard: guard, Subscriber: "billing", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	runs := map[string]int{}
	mux := asynq.NewServeMux()
	mux.Handle(charge, wrapped.Handler(consumer, func(ctx context.Context, t *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		mu.Lock()
		defer mu.Unlock()
		runs[id]++
		if string(t.Payload()) == "refused" {
			return once.Final(errors.New("the card is refused"))
		}
		return nil
	}))
	redis := asynq.RedisClientOpt{Addr: servers.Redis(t).Addr}
	server := asynq.NewServer(redis, wrapped.Configure(asynq.Config{Concurrency: 4, Logger: silent{}}))
	if err := server.Start(mux); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	client, inspector := asynq.NewClient(redis), asynq.NewInspector(redis)
	t.Cleanup(func() { client.Close(); inspector.Close() })

	for _, id := range []string{"order-1", "order-1", "order-2", "order-1"} {
		if _, err := client.Enqueue(asynq.NewTask(charge, nil), asynq.TaskID(id)); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool {
			_, err := inspector.GetTaskInfo("default", id)
			return errors.Is(err, asynq.ErrTaskNotFound) // done
		})
	}
	if _, err := client.Enqueue(asynq.NewTask(charge, []byte("refused")), asynq.TaskID("order-3")); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		info, err := inspector.GetTaskInfo("default", "order-3")
		return err == nil && info.State == asynq.TaskStateArchived
	})
	mu.Lock()
	defer mu.Unlock()
	if len(runs) != 3 || runs["order-1"] != 1 || runs["order-2"] != 1 || runs["order-3"] != 1 {
		t.Errorf("runs: %v; want one of each order", runs)
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute")
		}
	}
}

// silent is a logger that says nothing.
type silent struct{}

func (silent) Debug(...any) {}
func (silent) Info(...any)  {}
func (silent) Warn(...any)  {}
func (silent) Error(...any) {}
func (silent) Fatal(...any) {}
