package onceetcd_test

import (
	"bytes"
	"flag"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var records = flag.Int("records", 1000, "how many records are left to expire; a million take a long time")

// Etcd removes by itself what is over, and others go on meanwhile. What a record and its removal
// cost is for people to read; what is asserted is that all is removed, and no more leases were
// needed than a few.
func TestRecordsExpire(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd, "--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--auto-compaction-mode=revision",
		"--auto-compaction-retention=1000")
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	const size = 1024
	began := time.Now()
	fill(t, s, *records, bytes.Repeat([]byte("x"), size), 5*time.Second+time.Duration(*records)*time.Millisecond)
	took := time.Since(began)
	status, err := client.Status(t.Context(), "http://"+e.Addr)
	ok(t, err)
	leases, err := client.Leases(t.Context())
	ok(t, err)
	if n, most := len(leases.Leases), 20+*records/250+4*int(took.Seconds()); n > most {
		t.Errorf("%d leases for %d records, want at most %d", n, *records, most)
	}
	t.Logf("%d operations in %v, %d leases; %d bytes of the database each, with outcomes of %d bytes, before compaction",
		*records, took, len(leases.Leases), status.DbSizeInUse/int64(*records), size)
	quiet := probe(t, s, 100)
	count := func() int64 {
		r, err := client.Get(t.Context(), "once/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		ok(t, err)
		return r.Count
	}
	full := count()
	eventually(t, "the first are gone", func() bool { time.Sleep(50 * time.Millisecond); return count() < full })
	began = time.Now()
	var during []time.Duration
	for deadline := time.Now().Add(time.Minute + time.Duration(*records)*time.Millisecond*2); count() > 0; {
		during = append(during, probe(t, s, 5)...)
		if time.Now().After(deadline) {
			t.Fatalf("%d keys are left", count())
		}
	}
	t.Logf("all removed within %v of the first; 99 %% of claims took at most %v before and %v meanwhile",
		time.Since(began), percentile99(quiet), percentile99(during))
}

// fill makes so many operations done.
func fill(t *testing.T, s *onceetcd.Store, n int, data []byte, retention time.Duration) {
	t.Helper()
	out := once.Outcome{Type: "application/http", Data: data}
	const callers = 64
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for at := i; at < n; at += callers {
				c := newClaim()
				if _, err := s.Claim(t.Context(), c); err != nil {
					t.Error(err)
				}
				if err := s.Complete(t.Context(), c.Key, c.Owner, out, retention); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// probe returns how long each of n claims took.
func probe(t *testing.T, s *onceetcd.Store, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range n {
		c := newClaim()
		start := time.Now()
		wins(t, s, c)
		took = append(took, time.Since(start))
		ok(t, s.Release(t.Context(), c.Key, c.Owner))
	}
	return took
}

func percentile99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100]
}
