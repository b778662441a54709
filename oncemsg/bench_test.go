package oncemsg_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemem"
	"github.com/oncehq/once/oncemsg"
)

func nothing(context.Context, oncemsg.Message) error { return nil }

func benchConsumer(b *testing.B, mode oncemsg.Mode) *oncemsg.Consumer {
	return newConsumer(b, oncemsg.Config{
		Guard: newGuard(b, once.Config{Store: &oncemem.Store{MaxRecords: 1 << 26, MaxBytes: 1 << 40}, Retention: time.Second}),
		Mode:  mode,
	})
}

func BenchmarkRun(b *testing.B) {
	for _, mode := range []oncemsg.Mode{oncemsg.ClaimRunDone, oncemsg.DropOnlyMayLose} {
		b.Run(mode.String(), func(b *testing.B) {
			c, m := benchConsumer(b, mode), oncemsg.Message{Source: "orders"}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.ID = strconv.Itoa(i)
				if d := c.Handle(b.Context(), m, nothing); d.Kind != oncemsg.Ran {
					b.Fatal(d)
				}
			}
		})
	}
}

func BenchmarkDuplicate(b *testing.B) {
	c := newConsumer(b, oncemsg.Config{})
	c.Handle(b.Context(), message, nothing)
	b.ReportAllocs()
	for b.Loop() {
		if d := c.Handle(b.Context(), message, nothing); d.Kind != oncemsg.Duplicate {
			b.Fatal(d)
		}
	}
}

// On disk a batch shares its flushes: one for all claims, and few for the outcomes.
func BenchmarkBatch(b *testing.B) {
	memory := func(*testing.B) once.Store { return &oncemem.Store{MaxRecords: 1 << 26, MaxBytes: 1 << 40} }
	for _, s := range []struct {
		name string
		open func(*testing.B) once.Store
	}{{"memory", memory}, {"disk", disk}} {
		for _, size := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, size), func(b *testing.B) {
				c := newConsumer(b, oncemsg.Config{
					Guard: newGuard(b, once.Config{Store: s.open(b), Retention: time.Minute}),
				})
				ms, n := make([]oncemsg.Message, size), 0
				b.ReportAllocs()
				for b.Loop() {
					for i := range ms {
						n++
						ms[i].ID = strconv.Itoa(n)
					}
					c.HandleEach(b.Context(), ms, nothing)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

func disk(b *testing.B) once.Store {
	s, err := oncedisk.Open(oncedisk.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}
