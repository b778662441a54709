package oncesql_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

// childEnv makes this test's program another process that uses the same database.
const childEnv = "ONCESQL_TEST_DSN"

// child runs operations 0, 1, 2, … in transactions, until it is killed. It says which are done, a line
// each.
func child(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cfg := oncesql.Config{DSN: dsn, Sweep: -1, Timeout: time.Minute, LockWait: 30 * time.Second}
	s, err := oncesql.OpenTransactional(ctx, cfg)
	if err != nil {
		return err
	}
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n == 1 { // the connections are made by now
			fmt.Println("ready")
			fmt.Scanln()
		}
		id := strconv.Itoa(n)
		_, err := once.Do(ctx, g, key(id), once.Fingerprint{}, func(ctx context.Context) (string, error) {
			return id, business{}.add(ctx, id)
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// A process is a child.
type process struct {
	cmd   *exec.Cmd
	in    io.Writer
	lines chan string // what it says; closed at its end
	end   sync.Once
}

func startChild(t testing.TB, dsn string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dsn)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	p := &process{cmd: cmd, in: in, lines: make(chan string, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for text := bufio.NewScanner(out); text.Scan(); {
			p.lines <- text.Text()
		}
	}()
	t.Cleanup(func() {
		p.kill()
		for range p.lines {
		}
		<-read
		p.cmd.Wait()
	})
	return p
}

func (p *process) goOn() { fmt.Fprintln(p.in) }

func (p *process) kill() { p.end.Do(func() { p.cmd.Process.Signal(syscall.SIGKILL) }) }
