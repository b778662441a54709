package oncenats_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

var records = flag.Int("records", 0, "measure what so many records cost, and their expiry; 1000000 take minutes")

// The server removes what is over by itself. What that costs is for people to read; what is asserted
// is that all is removed.
func TestRecordsExpire(t *testing.T) {
	if *records == 0 {
		t.Skip("takes long: go test -run RecordsExpire -v -timeout 30m . -args -records 1000000")
	}
	n := startNodes(t, 1, false)[0]
	s := open(t, oncenats.Config{DSN: nodesDSN([]*node{n})})
	nc, err := nats.Connect(nodesDSN([]*node{n}))
	ok(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ok(t, err)
	state := func() jetstream.StreamState {
		st, err := js.Stream(t.Context(), oncenats.DefaultStream)
		ok(t, err)
		return st.CachedInfo().State
	}
	memory := n.memory(t)
	const first = 1000 // tell how fast the machine is
	began := time.Now()
	fill(t, s, first, began.Add(time.Second))
	each := time.Since(began) / first
	began = time.Now()
	end := began.Add(20*time.Second + 2*each*time.Duration(*records)) // of all retentions
	fill(t, s, *records, end)
	t.Logf("%d operations in %v; a record has %d bytes on disk and %d in memory, with outcomes of %d bytes",
		*records, time.Since(began).Round(time.Second), n.disk(t)/int64(*records),
		(n.memory(t)-memory)/int64(*records), len(kilobyte.Data))
	last := state().LastSeq // of these records
	quiet := probe(t, s, 1000)
	if state().Msgs < uint64(*records) {
		t.Fatal("the machine is too slow: some are over already")
	}
	time.Sleep(time.Until(end) - time.Second)
	processor := n.processor(t)
	var during []time.Duration
	for state().FirstSeq <= last {
		during = append(during, probe(t, s, 10)...)
		if time.Since(end) > 10*time.Minute {
			t.Fatalf("%d messages are left", state().Msgs)
		}
	}
	t.Logf("all removed %v after their end; %v of the server's time a record, the probes' included; 99 %% of claims took at most %v "+
		"before and %v meanwhile, the longest %v; %d bytes on disk are left", time.Since(end).Round(time.Millisecond),
		(n.processor(t)-processor)/time.Duration(*records), percentile99(quiet), percentile99(during),
		slices.Max(during).Round(time.Millisecond), n.disk(t))
}

// fill makes n operations done whose retention ends at the same time.
func fill(t *testing.T, s *oncenats.Store, n int, end time.Time) {
	t.Helper()
	var wg sync.WaitGroup
	var todo atomic.Int64
	todo.Store(int64(n))
	for range 64 {
		wg.Go(func() {
			for todo.Add(-1) >= 0 {
				c := newClaim()
				if err := second(s.Claim(t.Context(), c)); err != nil {
					t.Error(err)
				}
				if err := s.Complete(t.Context(), c.Key, c.Owner, kilobyte, time.Until(end)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// probe returns how long each of n claims took.
func probe(t *testing.T, s once.Store, n int) []time.Duration {
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
	return d[len(d)*99/100].Round(time.Microsecond)
}

// disk returns how many bytes the server's files have.
func (n *node) disk(t *testing.T) (total int64) {
	t.Helper()
	ok(t, filepath.WalkDir(n.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file that was removed meanwhile
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	}))
	return total
}

// memory returns how many bytes the server has in memory (proc(5): VmRSS).
func (n *node) memory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(n.cmd.Process.Pid) + "/status")
	ok(t, err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	ok(t, err)
	return kilobytes << 10
}

// processor returns how much of the processors' time the server has had (proc(5): utime and stime,
// in ticks of which there are a hundred in a second).
func (n *node) processor(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(n.cmd.Process.Pid) + "/stat")
	ok(t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.ParseInt(fields[11], 10, 64)
	ok(t, err)
	system, err := strconv.ParseInt(fields[12], 10, 64)
	ok(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}
