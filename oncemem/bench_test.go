package oncemem_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemem"
)

// ids returns the ids of so many operations, of the length of a UUID.
func ids(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%036d", i)
	}
	return ids
}

func newClaim(id string) once.Claim {
	return once.Claim{
		Key:         once.Key{Scope: "tenant-1 POST /payments", ID: id},
		Fingerprint: once.Fingerprint{1},
		Owner:       once.Owner{1},
		Lease:       10 * time.Second,
		Takeover:    10,
		Forget:      24 * time.Hour,
	}
}

var receipt = once.Outcome{Type: "application/http", Data: make([]byte, 1024)}

// BenchmarkFresh claims and completes operations that are new, with 100,000 others in the store.
func BenchmarkFresh(b *testing.B) {
	for _, retention := range []time.Duration{time.Millisecond, 24 * time.Hour} {
		b.Run("retention="+retention.String(), func(b *testing.B) {
			s := &oncemem.Store{MaxRecords: 1 << 30, MaxBytes: 1 << 40}
			fill(b, s, 100_000)
			n := 0
			var id [20]byte
			b.ReportAllocs()
			for b.Loop() {
				n++
				fresh(b, s, string(strconv.AppendInt(id[:0], int64(n), 10)), retention)
			}
		})
	}
}

func fresh(b *testing.B, s *oncemem.Store, id string, retention time.Duration) {
	ctx := context.Background()
	c := newClaim(id)
	rec, err := s.Claim(ctx, c)
	if err != nil || !rec.Won(c) {
		b.Fatal(rec.State, err)
	}
	if err := s.Complete(ctx, c.Key, c.Owner, receipt, retention); err != nil {
		b.Fatal(err)
	}
}

func fill(b *testing.B, s *oncemem.Store, n int) {
	for _, id := range ids(n) {
		fresh(b, s, id, 24*time.Hour)
	}
}

func BenchmarkFreshParallel(b *testing.B) {
	s := &oncemem.Store{MaxRecords: 1 << 30, MaxBytes: 1 << 40}
	fill(b, s, 100_000)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := next.Add(1) << 40
		for pb.Next() {
			n++
			fresh(b, s, strconv.FormatInt(n, 10), 10*time.Millisecond)
		}
	})
}

// BenchmarkReplay claims operations that are done.
func BenchmarkReplay(b *testing.B) {
	s := new(oncemem.Store)
	fill(b, s, 100_000)
	ids := ids(100_000)
	ctx, n := context.Background(), 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		rec, err := s.Claim(ctx, newClaim(ids[n%len(ids)]))
		if err != nil || rec.State != once.Done {
			b.Fatal(rec.State, err)
		}
	}
}

// BenchmarkReplayOne has every processor claim the same operation, which is done.
func BenchmarkReplayOne(b *testing.B) {
	s := new(oncemem.Store)
	fresh(b, s, "one", time.Hour)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			rec, err := s.Claim(context.Background(), newClaim("one"))
			if err != nil || rec.State != once.Done {
				b.Fatal(rec.State, err)
			}
		}
	})
}

// BenchmarkRelease claims and releases, as an operation does that found nothing to do.
func BenchmarkRelease(b *testing.B) {
	s := new(oncemem.Store)
	ctx, c := context.Background(), newClaim("id")
	b.ReportAllocs()
	for b.Loop() {
		s.Claim(ctx, c)
		if err := s.Release(ctx, c.Key, c.Owner); err != nil {
			b.Fatal(err)
		}
	}
}
