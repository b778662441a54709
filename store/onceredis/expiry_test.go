package onceredis_test

import (
	"bytes"
	"flag"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

var million = flag.Bool("million", false, "measure what a million records cost, and their expiry; takes minutes")

// The server removes what is over by itself. How much of its time that takes, and how much memory
// a record, is for people to read; what is asserted is that all is removed.
func TestMillionRecordsExpire(t *testing.T) {
	if !*million {
		t.Skip("takes long: go test -run Million -v -args -million")
	}
	const n, size = 1_000_000, 1024
	r := servers.Redis(t, "appendonly no")
	s := open(t, onceredis.Config{DSN: dsn(r), MaxFlushDelay: 20 * time.Microsecond})
	warm(t, s)
	empty := info(t, r, "memory", "used_memory")
	began := time.Now()
	end := began.Add(150 * time.Second) // of all retentions
	fill(t, s, n, size, end)
	t.Logf("%d operations in %v; %.0f bytes of memory a record, with outcomes of %d bytes",
		n, time.Since(began), (info(t, r, "memory", "used_memory")-empty)/n, size)

	quiet := probe(t, s, 2000)
	if count := r.Command(t, "DBSIZE"); count < strconv.Itoa(n) {
		t.Fatalf("the machine is too slow: of %d records %s are left before the probe", n, count)
	}
	time.Sleep(time.Until(end) - time.Second)
	cpu := processorTime(t, r)
	var during []time.Duration
	for r.Command(t, "DBSIZE") != "0" {
		during = append(during, probe(t, s, 10)...)
		if time.Since(end) > 10*time.Minute {
			t.Fatalf("%s records are left", r.Command(t, "DBSIZE"))
		}
		time.Sleep(50 * time.Millisecond)
	}
	// The probes and this test's questions are a small part of it.
	t.Logf("all removed within %v; %.2f µs of the server's time a record; 99 %% of claims took at most %v before "+
		"and %v meanwhile", time.Since(end), (processorTime(t, r)-cpu)/n*1e6, percentile99(quiet), percentile99(during))
}

// fill makes n operations done whose retention ends at the same time.
func fill(t *testing.T, s *onceredis.Store, n, size int, end time.Time) {
	t.Helper()
	out := once.Outcome{Type: "application/http", Data: bytes.Repeat([]byte("x"), size)}
	var wg sync.WaitGroup
	const callers = 64
	for range callers {
		wg.Go(func() {
			for range n / callers {
				c := newClaim()
				if _, err := s.Claim(t.Context(), c); err != nil {
					t.Error(err)
				}
				if err := s.Complete(t.Context(), c.Key, c.Owner, out, time.Until(end)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// probe returns how long each of n claims took.
func probe(t *testing.T, s *onceredis.Store, n int) []time.Duration {
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

func processorTime(t *testing.T, r *servers.RedisServer) float64 {
	return info(t, r, "cpu", "used_cpu_user") + info(t, r, "cpu", "used_cpu_sys")
}

// info returns a number that INFO tells.
func info(t *testing.T, r *servers.RedisServer, section, name string) float64 {
	t.Helper()
	_, rest, _ := strings.Cut(r.Command(t, "INFO", section), "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	ok(t, err)
	return n
}
