//go:build linux

package partition

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
	"github.com/oncehq/once/store/oncepg"
	"github.com/oncehq/once/store/onceredis"
)

// actAs says in the environment of this test's own program what it is instead of the test: what
// runs on a side must be a process.
const actAs = "ONCE_PARTITION_ACT_AS"

func TestMain(m *testing.M) {
	dsn := os.Getenv("ONCE_PARTITION_DSN")
	var err error
	switch os.Getenv(actAs) {
	case "":
		os.Exit(m.Run())
	case "receive":
		err = receive(dsn)
	case "send":
		err = send(dsn)
	case "claimer":
		err = claimAsTold(dsn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// claimAsTold claims the operations that are named on its input, many at a time, and says for each
// whether it was won. A claim without a definite answer is repeated by the same owner, as a guard
// does, until its patience is at an end.
func claimAsTold(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	patience, err := time.ParseDuration(os.Getenv("ONCE_PARTITION_PATIENCE"))
	if err != nil {
		return err
	}
	s, err := openStore(ctx, dsn)
	if err != nil {
		return err
	}
	fmt.Println("open")
	var all sync.WaitGroup
	var mu sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		id := lines.Text()
		all.Go(func() {
			answer := claim(s, id, patience)
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(id, answer)
		})
	}
	all.Wait()
	return nil
}

// Who is cut off gives up soon; who is not has all the time that an election takes.
const (
	oneTry  = time.Second
	cutOff  = 4 * time.Second
	patient = 40 * time.Second
)

func claim(s once.Store, id string, patience time.Duration) string {
	c := once.Claim{Key: once.Key{Scope: "partition", ID: id}, Owner: once.NewOwner(), Lease: time.Hour}
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var rec once.Record
		ctx, cancel := context.WithTimeout(context.Background(), oneTry)
		rec, err = s.Claim(ctx, c)
		cancel()
		switch {
		case err == nil && rec.Won(c):
			return "won"
		case err == nil:
			return "held"
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "unknown: " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

func openStore(ctx context.Context, dsn string) (once.Store, error) {
	if strings.HasPrefix(dsn, "postgres") {
		return oncepg.Open(ctx, oncepg.Config{DSN: dsn, Sweep: -1, Timeout: oneTry / 2})
	}
	return onceredis.Open(ctx, onceredis.Config{DSN: dsn})
}

// A claimer is a process on a side that has a store open.
type claimer struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func newClaimer(t *testing.T, n *Network, side Side, dsn string, patience time.Duration) *claimer {
	t.Helper()
	cmd := n.Command(side, os.Args[0])
	cmd.Env = append(os.Environ(), actAs+"=claimer", "ONCE_PARTITION_DSN="+dsn,
		"ONCE_PARTITION_PATIENCE="+patience.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	Start(t, cmd)
	c := &claimer{in, bufio.NewScanner(out)}
	if !c.out.Scan() || c.out.Text() != "open" {
		t.Fatalf("a process on a side could not open the store %s", dsn)
	}
	return c
}

// claim claims the operations and returns which it won. Of the others it logs one answer.
func (c *claimer) claim(t *testing.T, ids []string) (won map[string]bool) {
	t.Helper()
	_, err := io.WriteString(c.in, strings.Join(ids, "\n")+"\n")
	ok(t, err)
	won = make(map[string]bool)
	other := ""
	for range ids {
		if !c.out.Scan() {
			t.Fatal("a process on a side ended")
		}
		if id, answer, _ := strings.Cut(c.out.Text(), " "); answer == "won" {
			won[id] = true
		} else {
			other = answer
		}
	}
	if other != "" {
		t.Logf("%d of %d claims did not win, the last one of them: %s", len(ids)-len(won), len(ids), other)
	}
	return won
}

// both counts the operations that both have won.
func both(a, b map[string]bool) (n int) {
	for id := range a {
		if b[id] {
			n++
		}
	}
	return n
}

func names(what string) (ids []string) {
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("%s-%d", what, i))
	}
	return ids
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually asks again and again until there is no error.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s: %v", what, err)
		}
	}
}

// run runs a command to its end.
func run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return string(out), err
}
