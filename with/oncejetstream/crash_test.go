package oncejetstream_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/oncejetstream"
)

// Some tests run this executable again, as a server or as a consumer that kills itself. What it
// is to do is in the environment.
const (
	envRole  = "ONCEJETSTREAM_TEST_ROLE" // "server", or when to die: "effect" or "recorded"
	envDir   = "ONCEJETSTREAM_TEST_DIR"
	envPlace = "ONCEJETSTREAM_TEST_PLACE" // of the server: a port, or where to connect
)

func TestMain(m *testing.M) {
	role := os.Getenv(envRole)
	if role == "" {
		os.Exit(m.Run())
	}
	go func() { // the parent is dead
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	run := dying
	if role == "server" {
		run = serve
	}
	if err := run(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// child runs this executable again.
func child(t *testing.T, role, dir, place string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role, envDir+"="+dir, envPlace+"="+place)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func serve(string) error {
	port, err := strconv.Atoi(os.Getenv(envPlace))
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: os.Getenv(envDir), NoLog: true, NoSigs: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	select {}
}

// dying consumes, and kills its process as kill -9 does: after the effect, or when it is recorded and not
// yet acknowledged. It does so once for each message whose contents begin with "victim".
func dying(when string) error {
	dir := os.Getenv(envDir)
	die := func(moment string, m oncemsg.Message) {
		if moment != when || !strings.HasPrefix(string(m.Payload), "victim") {
			return
		}
		mark, err := os.OpenFile(filepath.Join(dir, "died-"+string(m.Payload)), os.O_CREATE|os.O_EXCL, 0o600)
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
		Guard: guard, Subscriber: durable, Window: once.Forever, Logger: slog.New(slog.DiscardHandler),
		Observe: func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) {
			if d.Kind == oncemsg.Ran {
				die("recorded", m)
			}
		},
	})
	if err != nil {
		return err
	}
	nc, err := nats.Connect(os.Getenv(envPlace))
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	effects, err := os.OpenFile(filepath.Join(dir, "effects"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return oncejetstream.Run(context.Background(), oncejetstream.Config{
		JetStream: js, Stream: stream, Durable: durable, Consumer: consumer, DeadLetterSubject: dead,
		IDHeader: "message-id", Concurrency: 1,
		Handler: func(_ context.Context, m oncemsg.Message) error {
			_, err := fmt.Fprintln(effects, string(m.Payload))
			die("effect", m)
			return err
		},
	})
}

// crash publishes messages, each twice, and runs consumers that kill themselves at two of them, one after
// the other. It returns how often each had its effect.
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
		cmd := child(t, when, dir, l.url)
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
	last := child(t, when, dir, l.url)
	defer last.Wait()
	defer last.Process.Kill()
	l.settled(2 * n)
	text, err := os.ReadFile(filepath.Join(dir, "effects"))
	if err != nil {
		t.Fatal(err)
	}
	effects = make(map[string]int)
	for _, id := range strings.Fields(string(text)) {
		effects[id]++
	}
	if len(effects) != n {
		t.Errorf("%d messages had an effect, want %d", len(effects), n)
	}
	if letters := len(l.kept("DEAD")); letters != 0 {
		t.Errorf("%d dead letters", letters)
	}
	return effects
}

// memoryDir is a folder in memory if there is one: what is killed are processes, not the machine.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "oncejetstream-")
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

// A server that is killed while messages are handled, and comes back, is read on: nothing is lost, and
// nothing run twice.
func TestServerThatIsKilledIsReadOn(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	dir, addr := t.TempDir(), net.JoinHostPort("127.0.0.1", port)
	start := func() (kill func()) {
		cmd := child(t, "server", dir, port)
		kill = func() { cmd.Process.Kill(); cmd.Wait() }
		t.Cleanup(kill)
		eventually(t, "the server takes connections", func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		return kill
	}
	kill := start()
	l := newLabOn(t, "nats://"+addr)
	const n = 40
	for i := range n {
		l.publish(fmt.Sprint(i))
	}
	half, resume := make(chan struct{}), make(chan struct{})
	cfg := l.byMessageID(func(ctx context.Context, m oncemsg.Message) error {
		if string(m.Payload) == "20" {
			close(half)
			<-resume
		}
		return l.ran(ctx, m)
	})
	cfg.Concurrency = 4
	l.start(cfg)
	<-half
	kill()
	start()
	close(resume)
	eventually(t, "all are acknowledged by the server that came back", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c, err := l.js.Consumer(ctx, stream, durable)
		return err == nil && c.CachedInfo().AckFloor.Stream == n && c.CachedInfo().NumAckPending == 0
	})
	for i := range n {
		l.wantRuns(fmt.Sprint(i), 1)
	}
}

// freePort returns a port below those that systems give to outgoing connections.
func freePort(t *testing.T) string {
	t.Helper()
	for port := 22_000 + os.Getpid()%8_000; ; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
			return strconv.Itoa(port)
		}
	}
}
