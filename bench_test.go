package once_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

func BenchmarkAttempt(b *testing.B) {
	g, err := once.New(once.Config{Store: new(oncemem.Store), InDoubt: once.Rerun})
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]string, 1<<16)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	ctx := context.Background()
	b.Run("fresh", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			a, err := g.Begin(ctx, once.Key{Scope: "fresh", ID: ids[i%len(ids)]}, once.Fingerprint{1})
			if err != nil {
				b.Fatal(err)
			}
			a.CompleteFor(once.Outcome{}, 0)
			i++
		}
	})
	b.Run("replay", func(b *testing.B) {
		b.ReportAllocs()
		k := once.Key{Scope: "replay", ID: "1"}
		a, _ := g.Begin(ctx, k, once.Fingerprint{1})
		a.Complete(once.Outcome{Data: make([]byte, 1024)})
		for b.Loop() {
			a, err := g.Begin(ctx, k, once.Fingerprint{1})
			if err != nil {
				b.Fatal(err)
			}
			if _, done := a.Replay(); !done {
				b.Fatal("not done")
			}
		}
	})
}
