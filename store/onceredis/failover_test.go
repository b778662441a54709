package onceredis_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

var failover = flag.Bool("failover", false,
	"kill masters under load and report what was lost; takes a minute, and a machine that is not overloaded")

func TestFailoverOfCluster(t *testing.T) {
	needsFlag(t)
	c := servers.RedisCluster(t)
	failOver(t, c.Masters[0], onceredis.Config{DSN: "redis+cluster://" + c.Addrs()})
}

// What replicas have not received when their master dies is lost.
func TestFailoverToReplicasThatLagBehind(t *testing.T) {
	needsFlag(t)
	set := servers.RedisSentinel(t)
	failOver(t, set.Master, onceredis.Config{DSN: "redis+sentinel://" + set.Addrs() + "/" + set.Name}, set.Replicas[:]...)
}

func TestFailoverBySentinel(t *testing.T) {
	for _, replicas := range []int{0, 1} {
		t.Run(fmt.Sprintf("MinReplicas %d", replicas), func(t *testing.T) {
			needsFlag(t)
			set := servers.RedisSentinel(t)
			failOver(t, set.Master, onceredis.Config{
				DSN: "redis+sentinel://" + set.Addrs() + "/" + set.Name, MinReplicas: replicas,
			})
		})
	}
}

func needsFlag(t *testing.T) {
	t.Helper()
	if !*failover {
		t.Skip("takes long: go test -run Failover -v -args -failover")
	}
}

// failOver runs operations while the master is killed, and afterwards repeats all that had
// succeeded. The replicas that are to lag get nothing for a moment before. What runs again was
// lost. That may happen, and is reported; what is asserted is that the service comes back, and
// that nobody is given anything but the latest run's outcome.
func failOver(
	t *testing.T, master *servers.RedisServer, cfg onceredis.Config, lag ...*servers.RedisServer,
) {
	s := open(t, cfg)
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Lease: 5 * time.Second, Wait: 10 * time.Second})
	ok(t, err)
	l := &load{g: g}
	few := int64(1000)
	if len(lag) > 0 {
		few, l.pad = 200, strings.Repeat("x", 128<<10) // more than fits into the system's buffers
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.stop.Store(true)
	const callers = 16
	for range callers {
		wg.Go(func() { l.run(t) })
	}
	eventually(t, "operations were done", func() bool { return l.done.Load() > few })
	for _, r := range lag {
		r.Pause()
		defer r.Resume()
	}
	paused := l.done.Load()
	eventually(t, "operations were done that lag", func() bool { return len(lag) == 0 || l.done.Load() > paused+few })
	killed := time.Now()
	master.Kill()
	for _, r := range lag {
		r.Resume()
	}
	atKill := l.done.Load()
	// Every caller gets stuck sooner or later on a key of the dead master, and comes free again.
	eventually(t, "operations were done again", func() bool { return l.done.Load() > atKill+few+callers })
	back := time.Since(killed)
	l.stop.Store(true)
	wg.Wait()

	lost := 0
	n := l.next.Load()
	for i := range n {
		before, acknowledged := l.results.Load(i)
		after, err := l.try(t, i)
		switch {
		case err != nil:
			t.Errorf("operation %d: %v", i, err)
		case acknowledged && after != before:
			lost++
		}
		if again, err := l.try(t, i); err != nil || again != after {
			t.Errorf("operation %d came to %v and then to %v, error %v", i, after, again, err)
		}
	}
	t.Logf("MinReplicas %d: %d operations, %d of them acknowledged; %d more were done %v after the kill; "+
		"%d were lost and ran again; %d errors were told to callers",
		cfg.MinReplicas, n, l.done.Load(), few, back, lost, l.errors.Load())
}

// load runs operations that are named by numbers.
type load struct {
	g       *once.Guard
	pad     string // of every outcome
	next    atomic.Int64
	done    atomic.Int64
	errors  atomic.Int64
	runs    atomic.Int64
	results sync.Map // by number: what the caller was told
	stop    atomic.Bool
}

func (l *load) run(t *testing.T) {
	for !l.stop.Load() {
		i := l.next.Add(1) - 1
		if got, err := l.try(t, i); err == nil {
			l.results.Store(i, got)
			l.done.Add(1)
		} else {
			t.Errorf("operation %d: %v", i, err)
		}
	}
}

type outcome struct {
	Run int64
	Pad string
}

// try asks for the operation until there is an answer. The answer tells the runs apart.
func (l *load) try(t *testing.T, i int64) (run int64, err error) {
	k := once.Key{Scope: "failover", ID: fmt.Sprint(i)}
	deadline := time.Now().Add(time.Minute)
	for ; time.Now().Before(deadline) && t.Context().Err() == nil; time.Sleep(10 * time.Millisecond) {
		out, err2 := once.Do(t.Context(), l.g, k, once.Fingerprint{}, func(context.Context) (outcome, error) {
			return outcome{l.runs.Add(1), l.pad}, nil
		})
		if err = err2; err == nil {
			return out.Run, nil
		}
		l.errors.Add(1)
	}
	return 0, err
}
