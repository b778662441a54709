package onceetcd_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceetcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const fewRecords = 1000

var records = flag.Int("records", fewRecords,
	"how many records are made, and left to expire at the pace at which they were made; a million take 5 GB of disk and memory")

// Etcd removes by itself what is over, and others go on meanwhile. What a record and its removal
// cost is for people to read; what is asserted is that all is removed, and no more leases were
// needed than a few.
func TestRecordsExpire(t *testing.T) {
	t.Parallel()
	e := servers.Etcd(t, etcd, "--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--auto-compaction-mode=periodic",
		"--auto-compaction-retention=1m")
	s, client := open(t, onceetcd.Config{DSN: dsn(e)}), raw(t, e)
	memory := metric(t, e, "process_resident_memory_bytes")
	began := time.Now()
	first := max(*records/20, 100) // tell how fast the machine is
	fill(t, s, first, time.Second)
	each := time.Since(began) / time.Duration(first)
	began = time.Now()
	fill(t, s, *records, 3*time.Second+each*time.Duration(*records)*5/4)
	took := time.Since(began)
	leases, err := client.Leases(t.Context())
	ok(t, err)
	if n, most := len(leases.Leases), 30+*records/250+int(20*took.Seconds()); n > most {
		t.Errorf("%d leases for %d records, want at most %d", n, *records, most)
	}
	t.Logf("%d operations in %v, %d leases", *records, took.Round(time.Millisecond), len(leases.Leases))
	tellSizes(t, client, e, memory)
	quiet := probe(t, s, 100)
	count := func() int64 {
		r, err := client.Get(t.Context(), "once/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		ok(t, err)
		return r.Count
	}
	full := count()
	if full < 2*int64(*records) {
		t.Logf("the machine is slow: of %d keys %d are left already", 2**records, full)
	}
	for count() == full {
		time.Sleep(100 * time.Millisecond)
	}
	began = time.Now()
	processor := metric(t, e, "process_cpu_seconds_total")
	during := probe(t, s, 10)
	for deadline := began.Add(10*time.Minute + 2*took); count() > 0; {
		during = append(during, probe(t, s, 50)...)
		if time.Now().After(deadline) {
			t.Fatalf("%d keys are left", count())
		}
	}
	spent := time.Duration((metric(t, e, "process_cpu_seconds_total") - processor) * float64(time.Second))
	t.Logf("all removed within %v of the first; %v of the server's time a record, those of %d probes included; 99 %% of claims took at "+
		"most %v before and %v meanwhile, the longest %v", time.Since(began).Round(time.Millisecond), spent/time.Duration(*records),
		len(during), percentile99(quiet), percentile99(during), slices.Max(during).Round(time.Millisecond))
}

// tellSizes tells what a record takes up, before what it was is compacted, and after.
func tellSizes(t *testing.T, client *clientv3.Client, e *servers.EtcdServer, memory float64) {
	t.Helper()
	size := func() int64 {
		status, err := client.Status(t.Context(), "http://"+e.Addr)
		ok(t, err)
		return status.DbSizeInUse / int64(*records)
	}
	before := size()
	now, err := client.Get(t.Context(), "x")
	ok(t, err)
	ok(t, second(client.Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical())))
	memory = metric(t, e, "process_resident_memory_bytes") - memory
	t.Logf("a record has %d bytes of the database before compaction and %d after, and %d of memory, with outcomes of %d bytes",
		before, size(), int64(memory)/int64(*records), len(kilobyte.Data))
}

// metric returns what the server tells of itself.
func metric(t *testing.T, e *servers.EtcdServer, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + e.Addr + "/metrics")
	ok(t, err)
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if what, text, _ := strings.Cut(lines.Text(), " "); what == name {
			n, err := strconv.ParseFloat(text, 64)
			ok(t, err)
			return n
		}
	}
	t.Fatalf("the server does not tell its %s", name)
	return 0
}

var kilobyte = once.Outcome{Type: "application/http", Data: bytes.Repeat([]byte("x"), 1024)}

// fill makes so many operations done.
func fill(t *testing.T, s *onceetcd.Store, n int, retention time.Duration) {
	t.Helper()
	const callers = 64
	var repeated atomic.Int64
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for at := i; at < n && !t.Failed(); at += callers {
				c := newClaim()
				repeat(t, &repeated, func(ctx context.Context) error { return second(s.Claim(ctx, c)) })
				repeat(t, &repeated, func(ctx context.Context) error {
					return s.Complete(ctx, c.Key, c.Owner, kilobyte, retention)
				})
			}
		})
	}
	all.Wait()
	if n := repeated.Load(); n > 0 {
		t.Logf("%d verbs were repeated", n)
	}
}

// probe returns how long each of n claims took, at most a hundred in a second.
func probe(t *testing.T, s *onceetcd.Store, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range n {
		c := newClaim()
		start := time.Now()
		wins(t, s, c)
		took = append(took, time.Since(start))
		ok(t, s.Release(t.Context(), c.Key, c.Owner))
		time.Sleep(10 * time.Millisecond)
	}
	return took
}

func percentile99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100]
}
