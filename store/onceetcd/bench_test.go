package onceetcd_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
)

// An operation is claimed and completed, which are two writes of etcd, beside two puts of the same
// bytes through the same kind of client:
//
//	go test -run '^$' -bench . -benchtime 3s
func BenchmarkOperation(b *testing.B) {
	e := servers.Etcd(b, etcd)
	s, client := open(b, onceetcd.Config{DSN: dsn(e)}), raw(b, e)
	out := once.Outcome{Type: "application/http", Data: []byte(strings.Repeat("x", 1024))}
	value := strings.Repeat("x", 1024+100)
	var keys atomic.Int64
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("claim+complete/callers=%d", callers), func(b *testing.B) {
			spread(b, callers, func() error {
				c := newClaim()
				if _, err := s.Claim(b.Context(), c); err != nil {
					return err
				}
				return s.Complete(b.Context(), c.Key, c.Owner, out, 24*time.Hour)
			})
		})
		b.Run(fmt.Sprintf("two puts/callers=%d", callers), func(b *testing.B) {
			spread(b, callers, func() error {
				name := fmt.Sprint("raw/", keys.Add(1))
				if _, err := client.Put(b.Context(), name, value[:76]); err != nil {
					return err
				}
				return second(client.Put(b.Context(), name, value))
			})
		})
		done := newClaim()
		wins(b, s, done)
		ok(b, s.Complete(b.Context(), done.Key, done.Owner, out, 24*time.Hour))
		ok(b, second(client.Put(b.Context(), "raw/done", value)))
		b.Run(fmt.Sprintf("replay/callers=%d", callers), func(b *testing.B) {
			spread(b, callers, func() error { return second(s.Claim(b.Context(), claimOn(done.Key))) })
		})
		b.Run(fmt.Sprintf("get/callers=%d", callers), func(b *testing.B) {
			spread(b, callers, func() error { return second(client.Get(b.Context(), "raw/done")) })
		})
	}
}

// spread runs b.N operations by so many callers.
func spread(b *testing.B, callers int, operation func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := operation(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
