package onceamqp_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceamqp"
)

// The crash tests run this executable again as a consumer that kills itself. What it is to do is in the
// environment.
const (
	envCrash = "ONCEAMQP_TEST_CRASH" // when to die: "effect" or "recorded"
	envDir   = "ONCEAMQP_TEST_DIR"
	envURL   = "ONCEAMQP_TEST_URL"
	envQueue = "ONCEAMQP_TEST_QUEUE"
)

// dying consumes, and kills its process as kill -9 does: after the effect, or when it is recorded and not
// yet acknowledged. It does so once for each message whose id begins with "victim".
func dying(when string) error {
	dir, queue := os.Getenv(envDir), os.Getenv(envQueue)
	die := func(moment string, m oncemsg.Message) {
		if moment != when || !strings.HasPrefix(m.ID, "victim") {
			return
		}
		mark, err := os.OpenFile(filepath.Join(dir, "died-"+m.ID), os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return
		}
		mark.Close()
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it takes a moment
	}
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return err
	}
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun, Lease: 5 * time.Second})
	if err != nil {
		return err
	}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard: guard, Subscriber: "billing", Logger: slog.New(slog.DiscardHandler),
		Observe: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) {
			if d.Kind == oncemsg.Ran {
				die("recorded", m)
			}
		},
	})
	if err != nil {
		return err
	}
	effects, err := os.OpenFile(filepath.Join(dir, "effects"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return onceamqp.Run(context.Background(), onceamqp.Config{
		Dial:  func() (*amqp091.Connection, error) { return amqp091.Dial(os.Getenv(envURL)) },
		Queue: queue, Consumer: consumer, DeadLetterKey: queue + ".dead", Concurrency: 1,
		Handler: func(_ context.Context, m oncemsg.Message) error {
			_, err := fmt.Fprintln(effects, m.ID)
			die("effect", m)
			return err
		},
	})
}

func (l *lab) child(when, dir string) *exec.Cmd {
	l.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envCrash+"="+when, envDir+"="+dir, envURL+"="+rabbit.URL, envQueue+"="+l.queue)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		l.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	return cmd
}

// crash publishes messages, each twice, and runs consumers that kill themselves at two of them, one after
// the other, and then one that does not. It returns how often each had its effect.
func crash(t *testing.T, when string) (effects map[string]int) {
	t.Helper()
	l := newLab(t)
	const n = 20
	for i := range n {
		id := fmt.Sprint("message-", i)
		if i == 3 || i == 11 {
			id = fmt.Sprint("victim-", i)
		}
		l.publish(id)
		l.publish(id)
	}
	dir := memoryDir(t)
	for deaths := range 2 {
		cmd := l.child(when, dir)
		died := make(chan error, 1)
		go func() { died <- cmd.Wait() }()
		select {
		case <-died:
			if cmd.ProcessState.Exited() {
				t.Fatalf("consumer %d has ended by itself: %v", deaths, cmd.ProcessState)
			}
		case <-time.After(patience):
			cmd.Process.Kill()
			t.Fatalf("consumer %d has not died", deaths)
		}
	}
	left := l.left()
	l.open(dir)
	stop := l.start(l.config(l.ran))
	l.ended(left, oncemsg.Ran, oncemsg.Duplicate)
	stop()
	l.wantEmpty()
	if n := len(l.letters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	text, err := os.ReadFile(filepath.Join(dir, "effects"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(string(text)) {
		l.runs[id]++
	}
	if len(l.runs) != n {
		t.Errorf("%d messages had an effect, want %d", len(l.runs), n)
	}
	return l.runs
}

// left returns how many messages are in the queue when the broker has noticed that its consumer is dead.
func (l *lab) left() (n int) {
	l.Helper()
	eventually(l, "the queue has no consumer", func() bool {
		q, err := l.ch.QueueDeclarePassive(l.queue, true, false, false, false, nil)
		n = q.Messages
		return err == nil && q.Consumers == 0
	})
	return n
}

// open opens the store of consumers that are dead.
func (l *lab) open(dir string) {
	l.Helper()
	store, err := oncedisk.Open(oncedisk.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { store.Close() })
	l.store = store
}

// memoryDir is a folder in memory if there is one: what is killed are processes, not the machine.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "onceamqp-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Nobody can know that the effect has happened; under Rerun it is repeated, once.
func TestCrashAfterTheEffectRepeatsThatOneAlone(t *testing.T) {
	t.Parallel()
	for id, n := range crash(t, "effect") {
		if want := 1 + strings.Count(id, "victim"); n != want {
			t.Errorf("%s had %d effects, want %d", id, n, want)
		}
	}
}

func TestCrashBeforeTheAcknowledgementRepeatsNothing(t *testing.T) {
	t.Parallel()
	for id, n := range crash(t, "recorded") {
		if n != 1 {
			t.Errorf("%s had %d effects, want 1", id, n)
		}
	}
}
