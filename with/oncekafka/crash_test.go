package oncekafka_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncekafka"
)

// The crash tests run this executable again as a member that kills itself. What it is to do is in
// the environment.
const (
	envCrash   = "ONCEKAFKA_TEST_CRASH" // when: "effect", "recorded" or "always"
	envVictims = "ONCEKAFKA_TEST_VICTIMS"
	envDir     = "ONCEKAFKA_TEST_DIR"
	envBroker  = "ONCEKAFKA_TEST_BROKER"
)

func TestMain(m *testing.M) {
	if os.Getenv(envCrash) == "" {
		os.Exit(m.Run())
	}
	go func() { // the parent is dead
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	if err := crashing(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// stalled is a file that is there if the store took longer than the lease, as on a machine that has too
// much to do: then other records may have had a second attempt.
const stalled = "stalled"

// A crasher is the member that kills itself.
type crasher struct {
	when, dir string
	victims   []string
}

func crashing() error {
	c := crasher{os.Getenv(envCrash), os.Getenv(envDir), strings.Fields(os.Getenv(envVictims))}
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(c.dir, "store")})
	if err != nil {
		return err
	}
	guard, err := once.New(once.Config{
		Store: store, InDoubt: once.Rerun, Lease: time.Second, MaxAttempts: 6,
	})
	if err != nil {
		return err
	}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard: guard, Subscriber: "test", Logger: slog.New(slog.DiscardHandler),
		Observe: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) {
			switch d.Kind {
			case oncemsg.Ran:
				c.die("recorded", string(m.Payload))
			case oncemsg.Unacknowledged, oncemsg.Unavailable:
				os.WriteFile(filepath.Join(c.dir, stalled), nil, 0o600)
			}
		},
	})
	if err != nil {
		return err
	}
	effects, err := os.OpenFile(filepath.Join(c.dir, "effects"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return oncekafka.Run(context.Background(), oncekafka.Config{
		Options: []kgo.Opt{
			kgo.SeedBrokers(os.Getenv(envBroker)), kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"),
			kgo.InstanceID("one"), // so that the group does not wait for the dead
			kgo.HeartbeatInterval(50 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
		},
		Consumer: consumer, DeadLetterTopic: dead, Batch: 8,
		Handler: func(_ context.Context, m oncemsg.Message) error {
			c.die("always", string(m.Payload))
			_, err := fmt.Fprintln(effects, string(m.Payload))
			c.die("effect", string(m.Payload))
			return err
		},
	})
}

// die kills the process as kill -9 does if this is the moment; the first time for each victim, or
// every time.
func (c crasher) die(moment, id string) {
	if c.when != moment || !slices.Contains(c.victims, id) {
		return
	}
	if moment != "always" {
		mark, err := os.OpenFile(filepath.Join(c.dir, "died-"+strings.ReplaceAll(id, "/", "-")), os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return
		}
		mark.Close()
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // it takes a moment
}

// A history is what members did that were killed one after the other.
type history struct {
	deaths  int
	effects []string // in their order
	exact   bool     // the store did not stall
}

// crash runs members, one after the other, until everything is committed.
func crash(t *testing.T, b *broker, when string, n int64, victims ...string) (h history) {
	t.Helper()
	dir := memoryDir(t)
	over := time.Now().Add(2 * patience)
	for b.committed("orders", 0) < n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envCrash+"="+when, envDir+"="+dir,
			envVictims+"="+strings.Join(victims, " "), envBroker+"="+b.ListenAddrs()[0])
		cmd.Stderr = os.Stderr
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		died := make(chan error, 1)
		go func() { died <- cmd.Wait() }()
		for alive := true; alive; {
			select {
			case <-died:
				if cmd.ProcessState.Exited() {
					t.Fatalf("a member has ended by itself: %v", cmd.ProcessState)
				}
				h.deaths++
				alive = false
			case <-time.After(20 * time.Millisecond):
				if late := time.Now().After(over); late || b.committed("orders", 0) == n {
					cmd.Process.Kill()
					<-died
					alive = false
					if late {
						t.Fatalf("offset %d is committed after %d deaths, want %d", b.committed("orders", 0), h.deaths, n)
					}
				}
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "effects"))
	if err != nil {
		t.Fatal(err)
	}
	h.effects = strings.Fields(string(text))
	_, err = os.Stat(filepath.Join(dir, stalled))
	h.exact = err != nil
	return h
}

// memoryDir is a folder in memory if there is one: what is killed are processes, not the machine.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "oncekafka-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// times returns how often each of the ids is there.
func times(ids, effects []string) map[string]int {
	n := make(map[string]int)
	for _, id := range ids {
		n[id] = 0
	}
	for _, id := range effects {
		n[id]++
	}
	return n
}

func TestCrashAfterTheEffectRepeatsThatOneAlone(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 60)
	victims := []int{0, 20, 47}
	h := crash(t, b, "effect", 60, ids[0], ids[20], ids[47])
	if h.deaths != len(victims) {
		t.Errorf("members have died %d times, want %d", h.deaths, len(victims))
	}
	n := times(ids, h.effects)
	for i, id := range ids {
		// Outcomes are recorded while the next record is handled: that of one just before may not be.
		before := slices.ContainsFunc(victims, func(v int) bool { return i < v && i >= v-8 })
		switch victim := slices.Contains(victims, i); {
		case n[id] == 0, victim && n[id] == 1, h.exact && n[id] > 2, h.exact && !victim && !before && n[id] > 1:
			t.Errorf("%s has had %d effects", id, n[id])
		}
	}
	if b.end(dead) != 0 {
		t.Errorf("%d records are dead-lettered, want none", b.end(dead))
	}
}

func TestCrashBeforeTheCommitRepeatsNothing(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 60)
	h := crash(t, b, "recorded", 60, ids[0], ids[20], ids[47])
	if h.deaths != 3 {
		t.Errorf("members have died %d times, want 3", h.deaths)
	}
	for id, n := range times(ids, h.effects) {
		if n == 0 || h.exact && n > 1 {
			t.Errorf("%s has had %d effects", id, n)
		}
	}
	if h.exact && !slices.Equal(h.effects, ids) {
		t.Errorf("effects are\n%q\nwant\n%q", h.effects, ids)
	}
}

func TestRecordThatKillsItsProcessIsSetAsideAndNoOtherIs(t *testing.T) {
	t.Parallel()
	b := newBroker(t, 1, "orders")
	ids := b.fill("orders", 1, 60)
	h := crash(t, b, "always", 60, ids[30])
	if h.deaths < 2 || h.deaths > 6 || h.exact && h.deaths != 6 {
		t.Errorf("members have died %d times, want 6: the attempts that the guard allows", h.deaths)
	}
	for id, n := range times(ids, h.effects) {
		if id == ids[30] && n != 0 || id != ids[30] && n == 0 {
			t.Errorf("%s has had %d effects", id, n)
		}
	}
	if got := b.read(dead, 1); b.end(dead) != 1 || string(got[0].Value) != ids[30] {
		t.Errorf("%d records are dead-lettered, the first is %s; want %s alone", b.end(dead), got[0].Value, ids[30])
	}
}
