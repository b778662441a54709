package river_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/oncehq/once"
	wrapped "github.com/oncehq/once/examples/wrap/river"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

func TestJobThatIsInsertedAgainChargesOnce(t *testing.T) {
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
	charge := func(_ context.Context, job *river.Job[wrapped.ChargeArgs]) error {
		mu.Lock()
		defer mu.Unlock()
		runs[job.Args.Order]++
		if job.Args.Amount <= 0 {
			return once.Final(errors.New("amount must be positive"))
		}
		return nil
	}
	client := start(t, wrapped.NewWorker(consumer, charge))
	jobs := []wrapped.ChargeArgs{{"order-1", 5}, {"order-1", 5}, {"order-2", 7}, {"order-1", 5}, {"order-3", -1}}
	for _, args := range jobs {
		inserted, err := client.Insert(t.Context(), args, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := rivertype.JobStateCompleted
		if args.Amount <= 0 {
			want = rivertype.JobStateCancelled
		}
		await(t, client, inserted.Job.ID, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(runs) != 3 || runs["order-1"] != 1 || runs["order-2"] != 1 || runs["order-3"] != 1 {
		t.Errorf("runs: %v; want one of each order", runs)
	}
}

// start starts a client with this worker, over a database of its own.
func start(t *testing.T, w *wrapped.Worker) *river.Client[pgx.Tx] {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), servers.Postgres(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil); err != nil {
		t.Fatal(err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(driver, &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}, Workers: workers,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.StopAndCancel(context.WithoutCancel(t.Context())) })
	return client
}

func await(t *testing.T, client *river.Client[pgx.Tx], id int64, want rivertype.JobState) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		job, err := client.JobGet(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if job.State == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job is %s, want %s; errors: %v", job.State, want, job.Errors)
		}
	}
}
