// Package processes checks that several processes can share a store: the test binary, started
// again, is one of them.
package processes

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// workerEnv holds the DSN of the store in a process that was started by this package.
const workerEnv = "ONCE_TEST_WORKER"

// A Store is what is checked.
type Store interface {
	once.Store
	once.Lister
	io.Closer
}

// Work is to be called first by TestMain. In a process that was started by this package it does
// what that is there for, and ends it.
func Work(open func(ctx context.Context, dsn string) (Store, error)) {
	dsn := os.Getenv(workerEnv)
	if dsn == "" {
		return
	}
	if err := work(open, dsn, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	workers = 3  // processes
	callers = 8  // in each, for every key
	keys    = 20 // that all want at the same time
)

// work is what a worker does: it says what it runs and what it gets, a line each.
func work(open func(context.Context, string) (Store, error), dsn, job string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := open(ctx, dsn)
	if err != nil {
		return err
	}
	defer s.Close()
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Lease: 20 * time.Second, Wait: time.Minute})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	var wg sync.WaitGroup
	for i := range keys * callers {
		wg.Go(func() {
			k := workerKey(i % keys)
			got, err := once.Do(ctx, g, k, once.Fingerprint{}, func(context.Context) (string, error) {
				fmt.Println("ran", k.ID)
				if job == "hang" {
					select {}
				}
				return fmt.Sprintf("by process %d", os.Getpid()), nil
			})
			fmt.Println("got", k.ID, got, err)
		})
	}
	wg.Wait()
	return nil
}

func workerKey(i int) once.Key { return once.Key{Scope: "processes", ID: fmt.Sprintf("key-%d", i)} }

// TestOneExecution lets many callers in several processes want the same operations at the same
// time. Each runs once, and all are given the same outcome, though most of them have to wait for
// another process.
func TestOneExecution(t *testing.T, dsn string) {
	t.Helper()
	var all []*worker
	for range workers {
		all = append(all, start(t, dsn, "run"))
	}
	for _, w := range all {
		w.await(t, "ready")
	}
	for _, w := range all {
		w.goOn()
	}
	ran, got, outcomes := map[string]int{}, map[string]int{}, map[string]string{}
	for _, w := range all {
		for line := range w.lines {
			verb, rest, _ := strings.Cut(line, " ")
			id, outcome, _ := strings.Cut(rest, " ")
			switch verb {
			case "ran":
				ran[id]++
			case "got":
				got[id]++
				if first := outcomes[id]; first != "" && first != outcome {
					t.Errorf("%s: one caller got %q, another %q", id, first, outcome)
				}
				outcomes[id] = outcome
			}
		}
		ok(t, w.cmd.Wait())
	}
	for i := range keys {
		id := workerKey(i).ID
		if ran[id] != 1 || got[id] != workers*callers || !strings.HasSuffix(outcomes[id], "<nil>") {
			t.Errorf("%s: ran %d times, %d callers got an answer: %s; want once and %d",
				id, ran[id], got[id], outcomes[id], workers*callers)
		}
	}
}

// TestTakeover kills a process that owns operations: they are in doubt, and others take them
// over. The store is opened when that process is gone.
func TestTakeover(t *testing.T, dsn string, open func() Store) {
	t.Helper()
	w := start(t, dsn, "hang")
	w.await(t, "ready")
	w.goOn()
	w.await(t, "ran")
	w.cmd.Process.Kill()
	for range w.lines { // until it is gone
	}
	s := open()
	var killed once.Key
	for rec, err := range s.List(t.Context(), once.Filter{Scope: "processes"}) {
		ok(t, err)
		if killed = rec.Key; rec.State != once.InFlight {
			t.Errorf("the killed owner's operation is %v, want in flight", rec.State)
		}
		ok(t, s.Renew(t.Context(), rec.Key, rec.Owner, 0)) // rather than wait for the lease
	}
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Lease: time.Minute})
	ok(t, err)
	attempt := 0
	_, err = once.Do(t.Context(), g, killed, once.Fingerprint{}, func(ctx context.Context) (int, error) {
		a, _ := once.FromContext(ctx)
		attempt = a.Number()
		return 0, nil
	})
	if err != nil || attempt != 2 {
		t.Errorf("got attempt %d, error %v, want the second", attempt, err)
	}
}

// A worker is another process.
type worker struct {
	cmd   *exec.Cmd
	stdin io.Writer
	lines chan string // what it says; closed at its end
}

func start(t *testing.T, dsn, job string) *worker {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], job)
	cmd.Env = append(os.Environ(), workerEnv+"="+dsn)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	ok(t, err)
	stdout, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	w := &worker{cmd: cmd, stdin: stdin, lines: make(chan string)}
	go func() {
		defer close(w.lines)
		for text := bufio.NewScanner(stdout); text.Scan(); {
			w.lines <- text.Text()
		}
	}()
	return w
}

// goOn lets a worker begin that is ready.
func (w *worker) goOn() { w.stdin.Write([]byte("go\n")) }

// await returns when the worker has said something that begins like this.
func (w *worker) await(t *testing.T, prefix string) {
	t.Helper()
	for line := range w.lines {
		if strings.HasPrefix(line, prefix) {
			return
		}
	}
	t.Fatalf("the worker ended and never said %q", prefix)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
