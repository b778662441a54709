// Package smoke runs an example like somebody who has just found it: it builds the program, starts
// it, reads what it prints, and does what it says.
package smoke

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a program may take for anything. It is generous, since tests run on
// machines that are busy.
const patience = 2 * time.Minute

// Build builds a package of this workspace, "." for that of the test, and returns the path of
// the program.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	// Less to do: the program has not long to live.
	args := []string{"build", "-buildvcs=false", "-ldflags=-w", "-o", path, pkg}
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// A Program is a running process. It is killed when the test ends, and so is what it has started.
type Program struct {
	path string // of the executable
	dir  string // where it runs
	out  output
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; to be read when done is closed
}

// Start starts a program in the folder dir.
func Start(t testing.TB, dir, path string, args ...string) *Program {
	t.Helper()
	p := &Program{path: path, dir: dir, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.out.changed = sync.NewCond(&p.out.mu)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.out
	// Settings of whoever runs the tests are not for the program.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ONCE_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	group(p.cmd)
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		defer p.out.end()
		runtime.LockOSThread() // on Linux a process dies with the thread that has started it
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", filepath.Base(path), strings.Join(args, " "), p.out.text())
		}
	})
	return p
}

// Kill ends the program, and what it has started, as kill -9 does.
func (p *Program) Kill() {
	kill(p.cmd)
	<-p.done
}

// Interrupt ends the program as Ctrl-C does, and expects that it leaves in good order.
func (p *Program) Interrupt(t testing.TB) {
	t.Helper()
	p.cmd.Process.Signal(os.Interrupt)
	if _, status := p.Wait(t); status != 0 {
		t.Errorf("exit status %d after an interrupt, want 0", status)
	}
}

// Wait waits for the end of the program, and returns what it has printed and its exit status.
func (p *Program) Wait(t testing.TB) (string, int) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("the program is still running after %v", patience)
	}
	if _, exited := errors.AsType[*exec.ExitError](p.err); p.err != nil && !exited {
		t.Fatal(p.err)
	}
	return p.out.text(), p.cmd.ProcessState.ExitCode()
}

// Run runs a program to its end.
func Run(t testing.TB, dir, path string, args ...string) (string, int) {
	t.Helper()
	return Start(t, dir, path, args...).Wait(t)
}

// Printed waits until the program has printed what the regular expression describes, and returns
// the match and its groups.
func (p *Program) Printed(t testing.TB, pattern string) []string {
	t.Helper()
	var match []string
	p.until(t, pattern, func(all string) bool {
		match = regexp.MustCompile(pattern).FindStringSubmatch(all)
		return match != nil
	})
	return match
}

// until waits until what the program has printed, up to the last line feed, is enough.
func (p *Program) until(t testing.TB, what string, enough func(string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, p.out.changed.Broadcast)()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	for {
		all := p.out.buf.Bytes()
		if enough(string(all[:bytes.LastIndexByte(all, '\n')+1])) {
			return
		}
		if p.out.ended || ctx.Err() != nil {
			t.Fatalf("the program has not printed: %s", what)
		}
		p.out.changed.Wait()
	}
}

// An output collects what a program prints.
type output struct {
	mu      sync.Mutex
	changed *sync.Cond
	buf     bytes.Buffer
	ended   bool
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
	return o.buf.Write(b)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
