package oncekafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// BenchmarkRun consumes records of 100 bytes from four partitions of an in-process broker, with a
// handler that does nothing: what guarding costs beside a loop that polls, counts and marks. That loop
// is measured in the same run, and "of-bare" is the part of its speed that is left. "cpu-ns/record" is the
// time of all processors, with the client's and the broker's: it can be compared on a busy machine too.
//
//	go test -run '^$' -bench Run -benchtime 200000x ./with/oncekafka
func BenchmarkRun(b *testing.B) {
	bare := 0.0
	b.Run("bare", func(b *testing.B) {
		bare = benchmark(b, func(ctx context.Context, br *broker, done func()) { bareLoop(ctx, b, br, done) })
	})
	stores := []struct {
		name string
		open func(b *testing.B) once.Store
	}{
		{"oncemem", func(*testing.B) once.Store { return &oncemem.Store{MaxRecords: 1 << 30, MaxBytes: 8 << 30} }},
		{"oncedisk", func(b *testing.B) once.Store {
			s, err := oncedisk.Open(oncedisk.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			return s
		}},
	}
	for _, s := range stores {
		for _, batch := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/batch=%d", s.name, batch), func(b *testing.B) {
				consumer := newConsumer(b, oncemsg.Config{
					Guard: newGuard(b, once.Config{Store: s.open(b)}), Logger: slog.New(slog.DiscardHandler),
				})
				rate := benchmark(b, func(ctx context.Context, br *broker, done func()) {
					err := oncekafka.Run(ctx, oncekafka.Config{
						Options: br.benchOptions(), Consumer: consumer, DeadLetterTopic: dead, Batch: batch,
						Handler: func(context.Context, oncemsg.Message) error { done(); return nil },
					})
					if err != nil {
						b.Error(err)
					}
				})
				b.ReportMetric(rate/bare, "of-bare")
			})
		}
	}
}

func (b *broker) benchOptions() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(b.ListenAddrs()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders")}
}

// benchmark returns how many records a second were consumed.
func benchmark(b *testing.B, consume func(ctx context.Context, br *broker, done func())) float64 {
	const partitions = 4
	br := newBroker(b, partitions, "orders")
	payload := make([]byte, 100)
	failed := func(_ *kgo.Record, err error) {
		if err != nil {
			b.Error(err)
		}
	}
	for i := range b.N {
		r := record("orders", int32(i%partitions), fmt.Sprintf("order-%012d", i))
		r.Value = payload
		br.producer.Produce(b.Context(), r, failed)
	}
	if err := br.producer.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var n atomic.Int64
	var cpu time.Duration
	before := cpuTime()
	b.ResetTimer()
	consume(ctx, br, func() {
		if n.Add(1) == int64(b.N) {
			b.StopTimer()
			cpu = cpuTime() - before
			cancel()
		}
	})
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "records/s")
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/record")
	return rate
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bareLoop is what a consumer is without a guard.
func bareLoop(ctx context.Context, b *testing.B, br *broker, done func()) {
	cl, err := kgo.NewClient(append(br.benchOptions(), kgo.AutoCommitMarks(), kgo.BlockRebalanceOnPoll())...)
	if err != nil {
		b.Fatal(err)
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachRecord(func(r *kgo.Record) {
			done()
			cl.MarkCommitRecords(r)
		})
		cl.AllowRebalance()
	}
}
