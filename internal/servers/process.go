package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take for anything. It is generous, since tests run on
// machines that are busy.
const patience = 60 * time.Second

// A Process is a server under a test's control. Its methods may be called by several goroutines,
// but not while one of them starts it.
type Process struct {
	name    string
	command func() *exec.Cmd // makes the command for one start
	logPath string           // what it prints

	mu     sync.Mutex // guards the rest
	cmd    *exec.Cmd
	exited chan struct{} // closed when the present run has ended
}

// newProcess returns a process that is not started yet. It is killed when the test ends, and
// then, if the test has failed, the end of what it printed is logged.
func newProcess(t testing.TB, name, dir string, command func() *exec.Cmd) *Process {
	p := &Process{name: name, command: command, logPath: filepath.Join(dir, name+".log")}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("servers: the last that %s printed:\n%s", name, p.tail())
		}
	})
	return p
}

// start runs the command, and returns once ready returns nil. Ready is asked again and again. It
// is an error if the process ends before.
func (p *Process) start(ready func() error) error {
	exited, err := p.launch()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for {
		select {
		case <-exited:
			return fmt.Errorf("servers: %s ended at once; it printed:\n%s", p.name, p.tail())
		default:
		}
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			p.Kill()
			return fmt.Errorf("servers: %s is not ready after %v: %w; it printed:\n%s",
				p.name, patience, err, p.tail())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// launch starts the process in a goroutine that keeps its thread to itself until the process has
// ended: on Linux a process dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG).
func (p *Process) launch() (<-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	dieWithParent(cmd.SysProcAttr)
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("servers: %s cannot be started: %w", p.name, err)
	}
	p.cmd, p.exited = cmd, exited
	return exited, nil
}

// Kill ends the process at once, as kill -9 does, and returns when it is gone. What it had
// written to files is still there.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop asks the process to end (SIGTERM), and returns when it is gone.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) {
	exited := p.signal(sig)
	if exited == nil {
		return
	}
	select {
	case <-exited:
	case <-time.After(patience):
		p.signal(syscall.SIGKILL)
		<-exited
	}
}

// Pause stops the process (SIGSTOP): it does nothing until [Process.Resume], but its connections
// stay open.
func (p *Process) Pause() {
	p.signal(syscall.SIGSTOP)
	// The signal takes effect a moment later. Where there is no /proc, hope that it has.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && p.runs(); {
		time.Sleep(time.Millisecond)
	}
}

// Resume undoes [Process.Pause].
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

// signal returns the channel that is closed when the process has ended, or nil if it never ran.
func (p *Process) signal(sig syscall.Signal) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	select {
	case <-p.exited: // the number may be another process's by now
	default:
		p.cmd.Process.Signal(sig)
	}
	return p.exited
}

// runs reports whether the process is there and not stopped, as far as it can be told.
func (p *Process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ") // see proc(5)
	return !strings.HasPrefix(state, "T")
}

// tail returns the end of what the process printed.
func (p *Process) tail() string {
	const most = 4 << 10
	text, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// until asks again and again until ready returns nil, and fails the test if that takes too long.
func until(t testing.TB, what string, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("servers: %s: not after %v: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
